// Orders that several people edit: a change to one that somebody else has locked is answered 423.

import express from 'express';
import { requireUnlocked } from './locks.js';

const holdfast = process.env.HOLDFAST_URL ?? 'http://127.0.0.1:4230';
const orders = new Map([['42', { text: 'Twelve chairs' }]]);

const app = express();
app.disable('x-powered-by');
app.enable('case sensitive routing'); // else /Orders/42 would be order 42 by an address that nobody locked
app.use(requireUnlocked(holdfast, { failOpen: process.env.FAIL_OPEN === '1' }));
app.use(express.json());

app.get('/orders/:id', (req, res) => {
  const order = orders.get(req.params.id);
  return order ? res.json(order) : res.status(404).json({ error: 'There is no such order.' });
});

app.put('/orders/:id', (req, res) => {
  orders.set(req.params.id, { text: String(req.body?.text ?? '') });
  res.json(orders.get(req.params.id));
});

app.delete('/orders/:id', (req, res) => {
  orders.delete(req.params.id);
  res.status(204).end();
});

const server = app.listen(Number(process.env.PORT ?? 8000), '127.0.0.1', (error) => {
  if (error) throw error;
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => server.close(() => process.exit(0)));
