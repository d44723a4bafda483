// Started by the Procfile, although server.js is there too.
const http = require('http');
const at = process.argv.indexOf('--greeting');

http.createServer((req, res) => res.end(process.argv[at + 1])).listen(process.env.PORT);
