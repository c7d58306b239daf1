import type { z } from 'zod';
import { DEFAULT_RESOURCE_GROUP } from '../../config/config.ts';
import { CliError, EXIT } from '../process/exit.ts';
import { Account, AuditPage, Deployment, Keys, listOf, Model, Usage } from './control-shapes.ts';
import { type ControlFlags, resolveControl } from './endpoint.ts';
import { noteService, type Query, send, sendFor, type Service } from './http.ts';
import { runningService } from './running-service.ts';

export interface ControlCommandFlags extends ControlFlags {
  readonly subscription: string;
  /** Absent: the default group, or every group for a list. */
  readonly resourceGroup?: string;
  readonly json?: boolean;
}

export type LocationFlags = ControlCommandFlags & { readonly location?: string };

/** Chooses the service, and prints it before the first request. */
export async function openControl(flags: ControlCommandFlags): Promise<ControlClient> {
  const service = resolveControl(flags, process.env, await runningService(process.env));
  noteService(service);
  return new ControlClient(service, flags);
}

/** Calls the control plane, which is a part of Azure Resource Manager. */
export class ControlClient {
  readonly #service: Service;
  readonly #flags: ControlCommandFlags;

  constructor(service: Service, flags: ControlCommandFlags) {
    this.#service = service;
    this.#flags = flags;
  }

  /** The resources of the named group, or of the whole subscription. */
  async resources({ everyGroup = false } = {}): Promise<Account[]> {
    const { subscription, resourceGroup } = this.#flags;
    const group =
      everyGroup || resourceGroup === undefined ? '' : `/resourceGroups/${segment(resourceGroup)}`;
    const path = `/subscriptions/${segment(subscription)}${group}/${PROVIDER}/accounts`;
    return (await this.#get(path, listOf(Account))).value;
  }

  /** The location that was named, or all in which the subscription has resources. */
  async locations({ location }: LocationFlags): Promise<string[]> {
    if (location !== undefined) return [location];
    const resources = await this.resources();
    return [...new Set(resources.map((resource) => resource.location))].toSorted();
  }

  resource(name: string): Promise<Account> {
    return this.#get(this.#account(name), Account);
  }

  putResource(name: string, body: unknown): Promise<Account> {
    return this.#change('PUT', this.#account(name), { shape: Account, body });
  }

  patchResource(name: string, body: unknown): Promise<Account> {
    return this.#change('PATCH', this.#account(name), { shape: Account, body });
  }

  /** Resolves to false when there was nothing to delete. */
  deleteResource(name: string): Promise<boolean> {
    return this.#delete(this.#account(name));
  }

  keys(name: string): Promise<Keys> {
    return this.#change('POST', `${this.#account(name)}/listKeys`, { shape: Keys });
  }

  regenerateKey(name: string, slot: 1 | 2): Promise<Keys> {
    const body = { keyName: `Key${slot}` };
    return this.#change('POST', `${this.#account(name)}/regenerateKey`, { shape: Keys, body });
  }

  async deployments(resource: string): Promise<Deployment[]> {
    return (await this.#get(`${this.#account(resource)}/deployments`, listOf(Deployment))).value;
  }

  deployment(resource: string, name: string): Promise<Deployment> {
    return this.#get(this.#deployment(resource, name), Deployment);
  }

  putDeployment(resource: string, name: string, body: unknown): Promise<Deployment> {
    return this.#change('PUT', this.#deployment(resource, name), { shape: Deployment, body });
  }

  patchDeployment(resource: string, name: string, body: unknown): Promise<Deployment> {
    return this.#change('PATCH', this.#deployment(resource, name), { shape: Deployment, body });
  }

  /** Resolves to false when there was nothing to delete. */
  deleteDeployment(resource: string, name: string): Promise<boolean> {
    return this.#delete(this.#deployment(resource, name));
  }

  async models(location: string): Promise<Model[]> {
    return (await this.#get(`${this.#location(location)}/models`, listOf(Model))).value;
  }

  async usages(location: string): Promise<Usage[]> {
    return (await this.#get(`${this.#location(location)}/usages`, listOf(Usage))).value;
  }

  audit(query: Query): Promise<AuditPage> {
    return this.#get('/audit', AuditPage, query);
  }

  #account(name: string): string {
    const { subscription, resourceGroup = DEFAULT_RESOURCE_GROUP } = this.#flags;
    const group = `/subscriptions/${segment(subscription)}/resourceGroups/${segment(resourceGroup)}`;
    return `${group}/${PROVIDER}/accounts/${segment(name)}`;
  }

  #deployment(resource: string, name: string): string {
    return `${this.#account(resource)}/deployments/${segment(name)}`;
  }

  #location(location: string): string {
    return `/subscriptions/${segment(this.#flags.subscription)}/${PROVIDER}/locations/${segment(location)}`;
  }

  #get<T extends z.ZodType>(path: string, shape: T, query: Query = {}): Promise<z.output<T>> {
    return sendFor(this.#service, shape, 'GET', path, { query });
  }

  async #delete(path: string): Promise<boolean> {
    const response = await send(this.#service, 'DELETE', path);
    await response.body?.cancel();
    return response.status !== 204;
  }

  #change<T extends z.ZodType>(
    method: string,
    path: string,
    { shape, body }: { readonly shape: T; readonly body?: unknown },
  ): Promise<z.output<T>> {
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    return sendFor(this.#service, shape, method, path, sent);
  }
}

const PROVIDER = 'providers/Microsoft.CognitiveServices';

/** Encodes a part of a path. It refuses `.` and `..`, which a URL parser removes. */
function segment(text: string): string {
  if (/^\.{0,2}$/.test(text)) throw new CliError(`'${text}' is not a name.`, EXIT.usage);
  return encodeURIComponent(text);
}
