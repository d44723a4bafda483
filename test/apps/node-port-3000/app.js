// As in many tutorials: knows nothing of PORT.
const http = require('http');

http.createServer((req, res) => res.end('I am on 3000')).listen(3000, () => console.log('on 3000'));
