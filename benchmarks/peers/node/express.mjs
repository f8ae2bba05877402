// Express's callback.

import express from 'express';

import { pay } from './alipay.mjs';

const app = express();
app.disable('x-powered-by');
const form = express.urlencoded({
  extended: false, verify: (request, _response, body) => { request.rawBody = body; },
});

app.post('/v1/callback/alipay', form, async (request, response) => {
  const settled = await pay(request.body, request.rawBody);
  response.type('text').send(settled ? 'success' : 'fail');
});

app.listen(Number(process.env.PORT), '127.0.0.1');
