package org.example.orders;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.DeleteMapping;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PutMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

/** The orders. Nothing here knows of locks. */
@RestController
public class Orders {
    /** One of them. */
    public record Order(String text) {}

    private final Map<String, Order> known = new ConcurrentHashMap<>(Map.of("42", new Order("Twelve chairs")));

    @GetMapping("/orders/{id}")
    public ResponseEntity<Order> get(@PathVariable("id") String id) {
        Order order = known.get(id);
        return order == null ? ResponseEntity.notFound().build() : ResponseEntity.ok(order);
    }

    @PutMapping("/orders/{id}")
    public Order put(@PathVariable("id") String id, @RequestBody Order order) {
        known.put(id, order);
        return order;
    }

    @DeleteMapping("/orders/{id}")
    public ResponseEntity<Void> delete(@PathVariable("id") String id) {
        known.remove(id);
        return ResponseEntity.noContent().build();
    }
}
