// Renders the operations of /openapi.json. Everything is set as text, never as HTML.
const make = (tag, props = {}, children = []) => {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
};

const json = (value) => make('pre', {}, [make('code', { textContent: JSON.stringify(value, null, 2) })]);

const parameterTable = (parameters) =>
  make('table', {}, [
    make(
      'tr',
      {},
      ['Parameter', 'In', 'Type', ''].map((title) => make('th', { textContent: title })),
    ),
    ...parameters.map(({ name, in: place, required, schema = {}, description }) =>
      make('tr', {}, [
        make('td', {}, [make('code', { textContent: required ? `${name} *` : name })]),
        make('td', { textContent: place }),
        make('td', { textContent: schema.enum?.join(' | ') ?? schema.type ?? '' }),
        make('td', { textContent: description ?? schema.description ?? '' }),
      ]),
    ),
  ]);

const section = (title, content) => [make('h4', { textContent: title }), content];

const renderOperation = (path, method, operation) =>
  make('details', {}, [
    make('summary', {}, [
      make('span', { className: 'method', textContent: method.toUpperCase() }),
      make('code', { textContent: path }),
      ` ${operation.summary ?? ''}`,
    ]),
    make('p', { textContent: operation.description ?? '' }),
    ...(operation.parameters ? section('Parameters', parameterTable(operation.parameters)) : []),
    ...Object.entries(operation.requestBody?.content ?? {}).flatMap(([type, { schema }]) =>
      section(`Body: ${type}`, json(schema)),
    ),
    ...Object.entries(operation.responses ?? {}).flatMap(([status, { content = {} }]) =>
      section(`Answer ${status}`, json(Object.values(content)[0]?.schema ?? {})),
    ),
  ]);

const resolve = (value, schemas) => {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => resolve(item, schemas));
  const name = /^#\/components\/schemas\/(.+)$/.exec(value.$ref ?? '')?.[1];
  if (name) return resolve(schemas[name], schemas);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, schemas)]));
};

const main = document.querySelector('#operations');
try {
  const response = await fetch('/openapi.json');
  const api = await response.json();
  document.querySelector('#description').textContent = api.info.description;
  document
    .querySelector('#servers')
    .append(
      ...api.servers.map(({ url, description }) =>
        make('li', {}, [make('code', { textContent: url }), ` ${description}`]),
      ),
    );
  const paths = resolve(api.paths, api.components.schemas);
  main.replaceChildren(
    ...Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations).map(([method, operation]) => renderOperation(path, method, operation)),
    ),
  );
} catch (error) {
  main.replaceChildren(make('p', { textContent: `The document could not be loaded: ${String(error)}` }));
}
