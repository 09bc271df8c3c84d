// Orders that several people edit: a change to one that somebody else has locked is answered 423.
package main

import (
	"encoding/json"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
)

type order struct {
	Text string `json:"text"`
}

type orders struct {
	mutex sync.Mutex
	known map[string]order
}

func (all *orders) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/orders/")
	all.mutex.Lock()
	defer all.mutex.Unlock()
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if _, found := all.known[id]; !found {
			http.Error(w, "There is no such order.", http.StatusNotFound)
			return
		}
	case http.MethodPut:
		var changed order
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&changed); err != nil {
			http.Error(w, "The order is no JSON.", http.StatusBadRequest)
			return
		}
		all.known[id] = changed
	case http.MethodDelete:
		delete(all.known, id)
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		w.Header().Set("Allow", "DELETE, GET, HEAD, PUT")
		http.Error(w, "This is no method of an order.", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all.known[id])
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	locks, err := NewLocks(setting("HOLDFAST_URL", "http://127.0.0.1:4230"))
	if err != nil {
		log.Fatal(err)
	}
	locks.FailOpen = os.Getenv("FAIL_OPEN") == "1"
	mux := http.NewServeMux()
	mux.Handle("/orders/", &orders{known: map[string]order{"42": {Text: "Twelve chairs"}}})
	listener, err := net.Listen("tcp", "127.0.0.1:"+setting("PORT", "8000"))
	if err != nil {
		log.Fatal(err)
	}
	log.SetFlags(0)
	log.Printf("listening on http://%s", listener.Addr())
	// The locks stand before the mux, which would redirect some spellings of a path and so take them for another request.
	if err := http.Serve(listener, locks.RequireUnlocked(mux)); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
