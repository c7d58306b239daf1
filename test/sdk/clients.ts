/** The official clients, as users point them at the service. */
import OpenAI, { AzureOpenAI } from 'openai';
import { DEPLOYMENT } from '../contract/harness.ts';

export interface Client {
  readonly name: string;
  readonly isAzure: boolean;
  /** A credential is a key, or what gets a token. */
  readonly create: (url: string, credential: string | (() => Promise<string>)) => OpenAI;
}

const azure =
  (apiVersion: string, deployment?: string): Client['create'] =>
  (endpoint, credential) =>
    new AzureOpenAI({
      endpoint,
      apiVersion,
      deployment,
      maxRetries: 0,
      ...(typeof credential === 'string' ? { apiKey: credential } : { azureADTokenProvider: credential }),
    });

const openai =
  (root: string): Client['create'] =>
  (url, apiKey) =>
    new OpenAI({ baseURL: `${url}${root}`, apiKey, maxRetries: 0 });

export const CLIENTS: readonly Client[] = [
  { name: 'AzureOpenAI 2024-10-21', isAzure: true, create: azure('2024-10-21') },
  { name: 'AzureOpenAI 2025-04-01-preview', isAzure: true, create: azure('2025-04-01-preview') },
  { name: 'AzureOpenAI with a deployment', isAzure: true, create: azure('2024-10-21', DEPLOYMENT) },
  { name: 'OpenAI on /openai/v1/', isAzure: true, create: openai('/openai/v1/') },
  { name: 'OpenAI on /v1', isAzure: false, create: openai('/v1') },
];
