// Listens on the loopback address only.
const http = require('http');

http.createServer((req, res) => res.end('I am on loopback')).listen(8080, '127.0.0.1');
