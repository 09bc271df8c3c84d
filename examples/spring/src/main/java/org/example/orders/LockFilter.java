package org.example.orders;

import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.stereotype.Component;
import org.springframework.web.filter.OncePerRequestFilter;

/**
 * Asks a Holdfast server before a request changes anything, and gives its refusal to the client.
 *
 * <p>With a token (of an administrator) the application asks for whom it has logged in, by getRemoteUser; without, the
 * request's own Authorization counts at the server. Where the server cannot be asked nothing is changed (503), unless
 * fail-open is set: then a lock that nobody can see stops nobody.
 */
@Component
public class LockFilter extends OncePerRequestFilter {
    private static final Set<String> READING = Set.of("GET", "HEAD", "OPTIONS");
    private static final List<String> ASKED_WITH =
            List.of("Accept", "Authorization", "Destination", "If", "Lock-Token");
    private static final List<String> KEPT = List.of(
            "Cache-Control", "Content-Security-Policy", "Content-Type", "Retry-After", "Vary", "WWW-Authenticate",
            "X-Content-Type-Options");
    private static final Duration PATIENCE = Duration.ofSeconds(5);
    private static final int NO_CONTENT = 204;

    private final URI holdfast;
    private final String token;
    private final boolean failOpen;
    private final HttpClient client = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(PATIENCE)
            .build();

    public LockFilter(
            @Value("${holdfast.url}") String holdfast,
            @Value("${holdfast.token:}") String token,
            @Value("${holdfast.fail-open:false}") boolean failOpen) {
        this.holdfast = URI.create(holdfast);
        this.token = token;
        this.failOpen = failOpen;
    }

    @Override
    protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws ServletException, IOException {
        if (READING.contains(request.getMethod())) {
            chain.doFilter(request, response);
            return;
        }
        if (request.getRequestURI().indexOf(';') >= 0) {
            // Spring takes /orders/42;v=1 for /orders/42, and a lock does not.
            problem(response, 400, "Bad Request", "A change is not taken at an address with a semicolon.");
            return;
        }
        HttpResponse<byte[]> answer;
        try {
            answer = ask(request);
        } catch (IOException | IllegalArgumentException error) {
            logger.error("the locks at " + holdfast + " could not be asked: " + error);
            if (failOpen) {
                chain.doFilter(request, response);
            } else {
                response.setHeader("Retry-After", "2");
                problem(response, 503, "Service Unavailable",
                        "The locks cannot be asked just now, so nothing was changed. Try again shortly.");
            }
            return;
        }
        if (answer.statusCode() == NO_CONTENT) {
            chain.doFilter(request, response);
        } else {
            refuse(response, answer);
        }
    }

    /** The question of a gateway: GET /api/check with what the request is. */
    private HttpResponse<byte[]> ask(HttpServletRequest request) throws IOException {
        String query = request.getQueryString();
        HttpRequest.Builder question = HttpRequest.newBuilder(holdfast.resolve("/api/check"))
                .timeout(PATIENCE)
                .header("X-Forwarded-Method", request.getMethod())
                .header("X-Forwarded-Uri", request.getRequestURI() + (query == null ? "" : "?" + query))
                .header("X-Forwarded-Proto", request.getScheme());
        if (request.getHeader("Host") != null) {
            question.header("X-Forwarded-Host", request.getHeader("Host"));
        }
        for (String name : ASKED_WITH) {
            List<String> sent = Collections.list(request.getHeaders(name));
            if (!sent.isEmpty() && !(name.equals("Authorization") && !token.isEmpty())) {
                question.header(name, String.join(", ", sent));
            }
        }
        if (!token.isEmpty()) {
            question.header("Authorization", "Bearer " + token);
            if (request.getRemoteUser() != null) {
                question.header("X-Forwarded-User", request.getRemoteUser());
            }
        }
        HttpResponse<byte[]> answer;
        try {
            answer = client.send(question.build(), HttpResponse.BodyHandlers.ofByteArray());
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", error);
        }
        if (answer.statusCode() != NO_CONTENT && answer.statusCode() / 100 != 4) {
            throw new IOException("it answered " + answer.statusCode());
        }
        return answer;
    }

    /** The server's refusal, with its fields; its links are made absolute, since they lead to the server. */
    private void refuse(HttpServletResponse response, HttpResponse<byte[]> answer) throws IOException {
        response.setStatus(answer.statusCode());
        for (String name : KEPT) {
            answer.headers().firstValue(name).ifPresent(value -> response.setHeader(name, value));
        }
        String origin = holdfast.getScheme() + "://" + holdfast.getAuthority();
        answer.headers().firstValue("Link").ifPresent(
                link -> response.setHeader("Link", link.replace("</", "<" + origin + "/")));
        response.setContentLength(answer.body().length);
        response.getOutputStream().write(answer.body());
    }

    private static void problem(HttpServletResponse response, int status, String title, String detail)
            throws IOException {
        String body = """
                {"type":"about:blank","title":"%s","status":%d,"detail":"%s"}""".formatted(title, status, detail);
        response.setStatus(status);
        response.setHeader("Content-Type", "application/problem+json");
        response.setHeader("Cache-Control", "no-store");
        response.getOutputStream().write(body.getBytes(StandardCharsets.UTF_8));
    }
}
