// A web server to start from. The platform says where to listen: PORT and HOST.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

const page = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>It works</title>
<style>body { font: 1.1em/1.6 system-ui, sans-serif; max-width: 38em; margin: 4em auto; padding: 0 1em }</style>
<h1>It works</h1>
<p>This page comes from <code>main.go</code>, built by %s. Change it and push:</p>
<pre>git commit -am "My first change" &amp;&amp; git push</pre>
`

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func main() {
	server := &http.Server{Addr: env("HOST", "0.0.0.0") + ":" + env("PORT", "8080")}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, page, runtime.Version())
	})
	ended := make(chan struct{})
	go func() { // A stop is SIGTERM: answer what is under way, take nothing new.
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		<-stop
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		close(ended)
	}()
	log.Print("listening on ", server.Addr)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-ended
}
