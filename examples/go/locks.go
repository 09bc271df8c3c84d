package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// askedWith are the fields of a request that its locks are judged by; kept those of a refusal that the client gets.
var (
	askedWith = []string{"Accept", "Authorization", "Destination", "If", "Lock-Token"}
	kept      = []string{
		"Cache-Control", "Content-Security-Policy", "Content-Type", "Retry-After", "Vary", "Www-Authenticate",
		"X-Content-Type-Options",
	}
)

const mostBytes = 1 << 20

// Locks asks a Holdfast server before a request changes anything.
//
// With a Token (an administrator's API token) and Person, the application asks for whom it has logged in; without, the
// request's own Authorization counts at the server. Where the server cannot be asked nothing is changed (503), unless
// FailOpen is set: then a lock that nobody can see stops nobody.
type Locks struct {
	Server   *url.URL
	Token    string
	Person   func(*http.Request) string
	FailOpen bool
	Client   *http.Client
}

// NewLocks asks the server at the base URL; an answer must come within five seconds.
func NewLocks(server string) (*Locks, error) {
	base, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	never := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Locks{Server: base, Client: &http.Client{Timeout: 5 * time.Second, CheckRedirect: never}}, nil
}

// RequireUnlocked lets a change through while its resource is free, or its sender holds the lock.
func (locks *Locks) RequireUnlocked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		answer, err := locks.ask(r)
		if err != nil {
			log.Printf("the locks at %s could not be asked: %v", locks.Server.Host, err)
			if locks.FailOpen {
				next.ServeHTTP(w, r)
			} else {
				unasked(w)
			}
			return
		}
		defer answer.Body.Close()
		if answer.StatusCode == http.StatusNoContent {
			next.ServeHTTP(w, r)
			return
		}
		locks.refuse(w, answer)
	})
}

// ask is the question of a gateway: GET /api/check with what the request is.
func (locks *Locks) ask(r *http.Request) (*http.Response, error) {
	question, err := http.NewRequestWithContext(r.Context(), http.MethodGet, locks.Server.JoinPath("/api/check").String(), nil)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	question.Header.Set("X-Forwarded-Method", r.Method)
	question.Header.Set("X-Forwarded-Uri", r.RequestURI)
	question.Header.Set("X-Forwarded-Host", r.Host)
	question.Header.Set("X-Forwarded-Proto", scheme)
	for _, name := range askedWith {
		if value := r.Header.Values(name); len(value) > 0 {
			question.Header.Set(name, strings.Join(value, ", "))
		}
	}
	if locks.Token != "" {
		question.Header.Set("Authorization", "Bearer "+locks.Token)
		if locks.Person != nil {
			question.Header.Set("X-Forwarded-User", locks.Person(r))
		}
	}
	answer, err := locks.Client.Do(question)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusNoContent && answer.StatusCode/100 != 4 {
		answer.Body.Close()
		return nil, fmt.Errorf("it answered %d", answer.StatusCode)
	}
	return answer, nil
}

// refuse hands the server's refusal to the client; its links are made absolute, since they lead to the server.
func (locks *Locks) refuse(w http.ResponseWriter, answer *http.Response) {
	for _, name := range kept {
		if value := answer.Header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	if link := answer.Header.Get("Link"); link != "" {
		origin := locks.Server.Scheme + "://" + locks.Server.Host
		w.Header().Set("Link", strings.ReplaceAll(link, "</", "<"+origin+"/"))
	}
	w.WriteHeader(answer.StatusCode)
	if _, err := io.Copy(w, io.LimitReader(answer.Body, mostBytes)); err != nil {
		panic(http.ErrAbortHandler) // the client must not take half an answer for a whole one
	}
}

func unasked(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Retry-After", "2")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "about:blank", "title": "Service Unavailable", "status": http.StatusServiceUnavailable,
		"detail": "The locks cannot be asked just now, so nothing was changed. Try again shortly.",
	})
}
