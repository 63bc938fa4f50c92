// Drives the Node.js SDK: calls from standard input, a line each; see DrivenClient.
const { mps } = require("tencentcloud-sdk-nodejs-mps");
const readline = require("node:readline");

const where = JSON.parse(process.argv[2]);
const client = new mps.v20190612.Client({
  credential: { secretId: where.id, secretKey: where.key },
  region: "",
  profile: { httpProfile: { endpoint: where.address, protocol: `${where.protocol}://` } },
});

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [action, body] = JSON.parse(line);
    let result;
    try {
      result = [null, await client[action](body)];
    } catch (error) {
      result = [error.code || "none", error.message];
    }
    process.stdout.write(JSON.stringify(result) + "\n");
  }
})();
