// A dependency from a lock file; listens where the platform says.
const http = require('http');
const greeting = require('greeting');

http.createServer((req, res) => res.end(`${greeting('node')} ${process.env.NODE_ENV} ${process.env.WHO || ''}`))
  .listen(process.env.PORT, process.env.HOST);
