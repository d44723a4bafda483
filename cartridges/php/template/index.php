<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>It works</title>
<style>body { font: 1.1em/1.6 system-ui, sans-serif; max-width: 38em; margin: 4em auto; padding: 0 1em }</style>
<h1>It works</h1>
<p>This page comes from <code>index.php</code>, run by PHP <?= htmlspecialchars(PHP_VERSION) ?>. Change it and push:</p>
<pre>git commit -am "My first change" &amp;&amp; git push</pre>
<p>The document root is the first that exists of <code>php/</code>, <code>public/</code>, <code>web/</code>,
<code>htdocs/</code>, <code>p/</code>, else the root of the repository; <code>PINION_DOCROOT</code> names another.</p>
