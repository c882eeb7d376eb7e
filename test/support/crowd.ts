import { once } from 'node:events';
import net, { type Socket } from 'node:net';

/** One of many bare connections, as far as it got. */
interface Member {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  text: string;
  reset: boolean;
}

/** How many connect at a time. */
const BATCH = 100;

/** Many bare connections that say what they are told to, and never end their own side. */
export class Crowd implements AsyncDisposable {
  readonly #members: Member[] = [];
  readonly #target: { host: string; port: number; localAddress: string };

  /** @param from the address of loopback that they come from: one of its own, so that it is no neighbour's. */
  constructor(url: string, from = '127.0.0.2') {
    const { hostname, port } = new URL(url);
    this.#target = { host: hostname, port: Number(port), localAddress: from };
  }

  /** Opens `count` more, which say `text`. Resolves when each has connected or failed to. */
  async join(count: number, text = ''): Promise<void> {
    // A kernel forgets connections that come faster than they are accepted, and their peers never hear of it.
    for (let left = count; left > 0; left -= BATCH) await this.#join(Math.min(left, BATCH), text);
  }

  async #join(count: number, text: string): Promise<void> {
    const opening = Array.from({ length: count }, async () => {
      const socket = net.connect({ ...this.#target, allowHalfOpen: true });
      const closed = new Promise((resolve) => socket.once('close', resolve));
      const member: Member = { socket, closed, text: '', reset: false };
      this.#members.push(member);
      socket.on('data', (data) => {
        member.text += data.toString('latin1');
      });
      socket.on('error', () => {
        member.reset = true;
      });
      // What the peer does not end from its side stays open: that is what is looked at.
      await Promise.race([once(socket, 'connect').catch(() => {}), closed]);
      if (text !== '') socket.write(text, 'latin1');
    });
    await Promise.all(opening);
  }

  /** Each of them says `text`. */
  say(text: string): void {
    for (const { socket } of this.#members) if (!socket.destroyed) socket.write(text, 'latin1');
  }

  /** From now on they read nothing, so that what is sent to them piles up on the way. */
  stopReading(): void {
    for (const { socket } of this.#members) socket.pause();
  }

  /** Resolves when the other side has ended every one of them. */
  async ended(): Promise<void> {
    const ends = this.#members.map(async ({ socket, closed }) => {
      const ended = new Promise((resolve) => socket.once('end', resolve));
      if (!socket.readableEnded && !socket.destroyed) await Promise.race([ended, closed]);
    });
    await Promise.all(ends);
  }

  /** What each of them has been told. */
  get texts(): readonly string[] {
    return this.#members.map(({ text }) => text);
  }

  /** How many were reset. */
  get resets(): number {
    return this.#members.filter(({ reset }) => reset).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.#members) socket.destroy();
    await Promise.all(this.#members.map(({ closed }) => closed));
  }
}
