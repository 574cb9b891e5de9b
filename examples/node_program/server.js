// A small service of another language: `PORT=3000 node server.js`.
const http = require("node:http");

const server = http.createServer((request, response) => {
  if (request.url === "/live") {
    response.end("ok");
    return;
  }
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ path: request.url, by: process.title }));
});

server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log(`listening on ${process.env.PORT}`));
process.on("SIGTERM", () => {
  console.log("closing");
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
