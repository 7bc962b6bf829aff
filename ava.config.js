// Tests run as compiled by `tsc` (dist/test mirrors test/), so worker threads and child processes need no loader.
export default {
  files: ["dist/test/**/*.test.js"],
  nodeArguments: ["--enable-source-maps"],
  workerThreads: false,
  concurrency: 2,
  timeout: "3m",
};
