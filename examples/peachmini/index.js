// The Peachmini API, with nothing but Node's standard library: GET /api/health and GET /api/girls.
// Listens on HOST and PORT, by default localhost:8787.
'use strict';

const http = require('node:http');

const version = '1.0.0';
const girls = ['Anna', 'Mila', 'Vera', 'Nika', 'Lika', 'Dana'].map((name, index) => ({ id: index + 1, name }));

function answer(method, path) {
  if (method !== 'GET') return [405, { error: 'method not allowed' }];
  switch (path) {
    case '/api/health':
      return [200, { status: 'ok', version, uptime: process.uptime() }];
    case '/api/girls':
      return [200, girls];
    default:
      return [404, { error: 'not found', path }];
  }
}

const server = http.createServer((request, response) => {
  const [status, body] = answer(request.method, request.url.split('?')[0]);
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
});

const host = process.env.HOST || 'localhost';
const port = Number(process.env.PORT || 8787);

server.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen(port, host, () => console.log(`Peachmini API on http://${host}:${port}`));

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}
