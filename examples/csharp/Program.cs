// Scores an image with a Fieldwave service, in both of its protocols.
//
//     dotnet run -- 127.0.0.1:50051 cat.jpg
//
// FIELDWAVE_ACCESS_TOKEN holds a key or a token, where the service wants one; with FIELDWAVE_TLS=1 it is called by
// TLS, and must have a certificate that this machine trusts.
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Net.Client;
using Inference;
using Tensorflow;
using Tensorflow.Serving;

if (args.Length != 2)
{
    Console.Error.WriteLine("error: usage: dotnet run -- HOST:PORT IMAGE");
    return 1;
}
var image = ByteString.CopyFrom(File.ReadAllBytes(args[1]));
var scheme = Environment.GetEnvironmentVariable("FIELDWAVE_TLS") == "1" ? "https" : "http";
// Detection networks answer with more than the 4 MiB that gRPC takes unless told otherwise.
using var channel = GrpcChannel.ForAddress(
    $"{scheme}://{args[0]}", new GrpcChannelOptions { MaxReceiveMessageSize = null });
var serving = new PredictionService.PredictionServiceClient(channel);
var inferring = new GRPCInferenceService.GRPCInferenceServiceClient(channel);
try
{
    var labels = Labels();
    Print("predict", Predict(), labels);
    Print("infer", Infer(), labels);
    return 0;
}
catch (RpcException error)
{
    Console.Error.WriteLine($"error: {error.StatusCode}: {error.Status.Detail}");
    return 1;
}

CallOptions Options()
{
    var headers = new Metadata();
    var token = Environment.GetEnvironmentVariable("FIELDWAVE_ACCESS_TOKEN");
    if (!string.IsNullOrEmpty(token))
    {
        headers.Add("authorization", $"Bearer {token}");
    }
    return new CallOptions(headers, deadline: DateTime.UtcNow.AddSeconds(10));
}

// Predict of TensorFlow Serving: the image file goes as it is, the scores come back as float_val.
float[] Predict()
{
    var tensor = new TensorProto { Dtype = DataType.DtString, TensorShape = new TensorShapeProto() };
    tensor.TensorShape.Dim.Add(new TensorShapeProto.Types.Dim { Size = 1 });
    tensor.StringVal.Add(image);
    var request = new PredictRequest();
    request.Inputs.Add("images", tensor);
    return serving.Predict(request, Options()).Outputs.Values.First().FloatVal.ToArray();
}

// ModelInfer of the Open Inference Protocol: raw bytes, of which a byte string has its length before it.
float[] Infer()
{
    var raw = new byte[4 + image.Length];
    BinaryPrimitives.WriteUInt32LittleEndian(raw, (uint)image.Length);
    image.CopyTo(raw, 4);
    var input = new ModelInferRequest.Types.InferInputTensor { Name = "images", Datatype = "BYTES" };
    input.Shape.Add(1);
    var request = new ModelInferRequest();
    request.Inputs.Add(input);
    request.RawInputContents.Add(ByteString.CopyFrom(raw));
    var answer = inferring.ModelInfer(request, Options());
    return MemoryMarshal.Cast<byte, float>(answer.RawOutputContents[0].Span).ToArray();
}

// The names of the classes, from the package's manifest.
string[] Labels()
{
    var request = new GetModelMetadataRequest();
    request.MetadataField.Add("manifest");
    var manifest = serving.GetModelMetadata(request, Options()).Metadata["manifest"].Unpack<StringValue>();
    using var document = JsonDocument.Parse(manifest.Value);
    return document.RootElement.TryGetProperty("labels", out var labels) && labels.ValueKind == JsonValueKind.Array
        ? labels.EnumerateArray().Select(label => label.GetString() ?? "").ToArray()
        : [];
}

static void Print(string protocol, float[] scores, string[] labels)
{
    var top = scores
        .Select((score, index) => new { index, label = index < labels.Length ? labels[index] : null, score })
        .OrderByDescending(one => one.score)
        .Take(5);
    Console.WriteLine(JsonSerializer.Serialize(new { protocol, top }));
}
