/** Replaced by the store's own set-up: starts a PostgreSQL for the test run. */
export default function setup(): void {}
