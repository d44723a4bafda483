// A web server to start from. The platform says where to listen: PORT and HOST.
const http = require('http');

const port = process.env.PORT || 8080;
const host = process.env.HOST || '0.0.0.0';

const page = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>It works</title>
<style>body { font: 1.1em/1.6 system-ui, sans-serif; max-width: 38em; margin: 4em auto; padding: 0 1em }</style>
<h1>It works</h1>
<p>This page comes from <code>server.js</code>, run by Node.js ${process.version}. Change it and push:</p>
<pre>git commit -am "My first change" &amp;&amp; git push</pre>
`;

const server = http.createServer((req, res) => {
  if (req.url === '/health') {
    res.writeHead(200, { 'Content-Type': 'text/plain' });
    res.end('ok\n');
    return;
  }
  res.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' });
  res.end(page);
});

server.listen(port, host, () => console.log(`listening on ${host}:${port}`));

// A stop is SIGTERM: answer what is under way, take nothing new.
process.on('SIGTERM', () => server.close(() => process.exit(0)));
