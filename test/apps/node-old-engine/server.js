// Asks for a Node.js that no stack has; v2's variables.
var http = require('http');
var ip = process.env.OPENSHIFT_NODEJS_IP || '127.0.0.1';
var port = process.env.OPENSHIFT_NODEJS_PORT || 8080;

http.createServer(function (req, res) {
  res.end('old but fine, on ' + ip);
}).listen(port, ip);
