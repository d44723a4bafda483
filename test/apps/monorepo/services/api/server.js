// One folder of a monorepo.
require('http').createServer((req, res) => res.end('api of the monorepo')).listen(process.env.PORT);
