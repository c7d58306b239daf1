/** Called between durable steps, with the name of the place. There a simulation crashes, and a crash test kills the process. */
export type Failpoint = (name: string) => void;

export const noFailpoints: Failpoint = () => {};
