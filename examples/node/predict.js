// Scores an image with a Fieldwave service, in both of its protocols.
//
//     npm install
//     node predict.js 127.0.0.1:50051 cat.jpg
//
// The .proto files are those of the Python package; PROTOS names the folder that has fieldwave/ in it, as
// `python -c 'import fieldwave; print(fieldwave.__path__[0] + "/..")'` prints it.
// FIELDWAVE_ACCESS_TOKEN holds a key or a token, where the service wants one; FIELDWAVE_CA the file of the
// certificate to trust, where it speaks TLS.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const PROTOS = process.env.PROTOS ?? path.join(__dirname, "..", "..", "src");
const SECONDS = 10;

function load(file) {
  const definition = protoLoader.loadSync(path.join("fieldwave", "wire", file), {
    includeDirs: [PROTOS],
    keepCase: true,
    longs: Number,
    enums: String,
  });
  return grpc.loadPackageDefinition(definition);
}

const { tensorflow } = load("prediction.proto");
const { inference } = load("inference.proto");
// A message of its own: the package's manifest comes in one (google.protobuf.StringValue: field 1, a string).
const readString = (bytes) => {
  let position = 1;
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[position++];
    length += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  return bytes.subarray(position, position + length).toString("utf8");
};

function connect(Service, address) {
  const ca = process.env.FIELDWAVE_CA;
  const credentials = ca ? grpc.credentials.createSsl(fs.readFileSync(ca)) : grpc.credentials.createInsecure();
  return new Service(address, credentials, {
    "grpc.max_receive_message_length": -1, // detection networks answer with more than gRPC's 4 MiB
    "grpc.keepalive_time_ms": 60000,
    // A name that stands for several replicas: calls go round them.
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  });
}

function call(client, method, request) {
  const metadata = new grpc.Metadata();
  const token = process.env.FIELDWAVE_ACCESS_TOKEN;
  if (token) metadata.set("authorization", `Bearer ${token}`);
  const deadline = new Date(Date.now() + SECONDS * 1000);
  return new Promise((resolve, reject) => {
    client[method](request, metadata, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

/** Predict of TensorFlow Serving: the image file goes as it is, the scores come back as float_val. */
async function predict(client, image) {
  const request = {
    inputs: {
      images: { dtype: "DT_STRING", tensor_shape: { dim: [{ size: 1 }] }, string_val: [image] },
    },
  };
  const { outputs } = await call(client, "Predict", request);
  return Object.values(outputs)[0].float_val;
}

/** ModelInfer of the Open Inference Protocol: raw bytes, of which a byte string has its length before it. */
async function infer(client, image) {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(image.length);
  const request = {
    inputs: [{ name: "images", datatype: "BYTES", shape: [1] }],
    raw_input_contents: [Buffer.concat([length, image])],
  };
  const { raw_output_contents: raw } = await call(client, "ModelInfer", request);
  const bytes = Buffer.from(raw[0]); // a copy, which begins where floats may
  return Array.from(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
}

/** The names of the classes, from the package's manifest. */
async function labels(client) {
  const { metadata } = await call(client, "GetModelMetadata", { metadata_field: ["manifest"] });
  return JSON.parse(readString(metadata.manifest.value)).labels ?? [];
}

function top(scores, names, count) {
  const order = scores.map((score, index) => ({ index, label: names[index], score }));
  return order.sort((a, b) => b.score - a.score).slice(0, count);
}

async function main([address, file]) {
  if (!address || !file) throw new Error("usage: node predict.js HOST:PORT IMAGE");
  const image = fs.readFileSync(file);
  const serving = connect(tensorflow.serving.PredictionService, address);
  const inferring = connect(inference.GRPCInferenceService, address);
  try {
    const names = await labels(serving);
    const answers = { predict: await predict(serving, image), infer: await infer(inferring, image) };
    for (const [protocol, scores] of Object.entries(answers)) {
      console.log(JSON.stringify({ protocol, top: top(scores, names, 5) }));
    }
  } finally {
    serving.close();
    inferring.close();
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
