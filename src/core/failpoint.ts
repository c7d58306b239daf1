/**
 * Named pause points between durable steps. Production passes `noFailpoints`; a simulation crashes at one of them,
 * a crash test kills the process there.
 */
export type Failpoint = (name: string) => void;

export const noFailpoints: Failpoint = () => {};
