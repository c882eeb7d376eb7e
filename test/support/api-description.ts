import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { type AppAnswer, call } from './plain-app.ts';

interface Described {
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, object> };
}

interface Operation {
  readonly operationId: string;
  readonly security: readonly object[];
  readonly responses: Record<
    string,
    { content?: Record<string, { schema: object }>; headers?: Record<string, object> }
  >;
}

/** What a router says of its interface, to be held against what it answers. */
export class ApiDescription {
  readonly document: Described;
  /** Which operations gave which statuses. */
  readonly seen = new Map<string, Set<number>>();
  readonly #ajv: Ajv2020;
  readonly #validators = new Map<object, ValidateFunction>();

  private constructor(document: Described) {
    this.document = document;
    this.#ajv = new Ajv2020({ strict: true, strictRequired: false, allErrors: true });
    (formats as unknown as (ajv: Ajv2020) => void)(this.#ajv);
    this.#ajv.addKeyword('components');
    this.#ajv.addSchema({ $id: 'api', components: document.components });
  }

  static async of(url: string, headers: Record<string, string> = {}): Promise<ApiDescription> {
    return new ApiDescription((await call(url, 'GET', '/openapi.json', headers)).json() as unknown as Described);
  }

  /** Every operation, as `METHOD /path`. */
  get operations(): string[] {
    return Object.entries(this.document.paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
    );
  }

  operation(name: string): Operation {
    const [method = '', path = ''] = name.split(' ');
    const found = this.document.paths[path]?.[method.toLowerCase()];
    if (found === undefined) throw new Error(`${name} is not described`);
    return found;
  }

  /** What is wrong with an answer: its status, its type, its headers or its body; nothing where it is as described. */
  check(name: string, answer: Pick<AppAnswer, 'status' | 'headers' | 'bytes'>): string[] {
    const { status, headers, bytes } = answer;
    const statuses = this.seen.get(name) ?? new Set();
    this.seen.set(name, statuses.add(status));
    const response = this.operation(name).responses[status];
    if (response === undefined) return [`${name}: status ${status} is not described: ${bytes}`];
    if (response.content === undefined) return bytes.length === 0 ? [] : [`${name}: ${status} has a body`];
    const type = (headers['content-type'] ?? '').split(';')[0] ?? '';
    const media = response.content[type] ?? response.content['*/*'];
    if (media === undefined) return [`${name}: ${status} has the type ${JSON.stringify(type)}`];
    if (!/[/+]json$/.test(type)) return [];
    const validate = this.#validatorOf(media.schema);
    if (validate(JSON.parse(bytes.toString()))) return [];
    return [`${name}: ${status}: ${this.#ajv.errorsText(validate.errors)}: ${bytes}`];
  }

  #validatorOf(schema: object): ValidateFunction {
    const known = this.#validators.get(schema);
    if (known !== undefined) return known;
    const text = JSON.stringify(schema).replaceAll('"#/components', '"api#/components');
    const made = this.#ajv.compile(JSON.parse(text) as object);
    this.#validators.set(schema, made);
    return made;
  }
}
