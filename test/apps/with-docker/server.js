require('http').createServer((q, r) => r.end('no docker')).listen(process.env.PORT);
