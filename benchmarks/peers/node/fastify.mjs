// Fastify's callback.

import { parse } from 'node:querystring';

import Fastify from 'fastify';

import { pay } from './alipay.mjs';

const app = Fastify();
app.addContentTypeParser(
  'application/x-www-form-urlencoded', { parseAs: 'buffer' },
  async (_request, body) => ({ fields: parse(body.toString()), body }),
);

app.post('/v1/callback/alipay', async (request, reply) => {
  const settled = await pay(request.body.fields, request.body.body);
  return reply.type('text/plain').send(settled ? 'success' : 'fail');
});

await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
