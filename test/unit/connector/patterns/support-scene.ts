import { RunningConnector } from '../support-connector.ts';
import { Sandbox } from '../support-dir.ts';
import { type FakeLink, type FakePost, FakeRouter } from '../support-router.ts';
import type { ConnectorOptions } from '../../../../src/connector/connector.ts';

/** A connector on a link, with the router's side in the hands of the test. */
export class Scene implements AsyncDisposable {
  readonly router: FakeRouter;
  readonly sandbox: Sandbox;
  readonly running: RunningConnector;
  readonly link: FakeLink;
  #id = 0;

  private constructor(router: FakeRouter, sandbox: Sandbox, running: RunningConnector, link: FakeLink) {
    this.router = router;
    this.sandbox = sandbox;
    this.running = running;
    this.link = link;
  }

  static async open(files: Record<string, string | Buffer>, options: Partial<ConnectorOptions> = {}): Promise<Scene> {
    const router = await FakeRouter.start();
    const sandbox = await Sandbox.create(files);
    const running = await RunningConnector.online({ routerUrl: router.url, dataDir: sandbox.data, ...options });
    return new Scene(router, sandbox, running, await router.nextLink());
  }

  /** Sends a command. @returns its request id. */
  command(command: string, fields: object = {}): string {
    const id = `r${++this.#id}`;
    this.link.send({ command, request_id: id, dataset_name: 'file', ...fields });
    return id;
  }

  /** The next POST that is no report of progress; those are answered. */
  async nextAnswer(): Promise<FakePost> {
    for (;;) {
      const post = await this.router.nextPost();
      if (post.path !== 'datasets/offload/progress') return post;
      await post.body();
      post.reply(200);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.running[Symbol.asyncDispose]();
    await this.router[Symbol.asyncDispose]();
    await this.sandbox[Symbol.asyncDispose]();
  }
}
