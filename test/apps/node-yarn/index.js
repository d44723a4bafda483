// Only a yarn.lock.
const http = require('http');
const greeting = require('greeting');

http.createServer((req, res) => res.end(greeting('yarn'))).listen(process.env.PORT);
