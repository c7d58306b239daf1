/** Something wrong in the configuration, and where: `--port`, `OFFPEAK_PORT`, `offpeak.yaml:12`. */
export interface Fault {
  readonly source: string;
  readonly message: string;
}
