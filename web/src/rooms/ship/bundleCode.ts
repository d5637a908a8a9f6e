// Programs that run a bundle, as it is, in the languages that people ship in: a whole file each, ready to paste.

import type { ModelFacts } from '../../lib/types';

export const LANGUAGES = ['Python', 'C++', 'C#', 'JavaScript', 'curl'] as const;
export type Language = (typeof LANGUAGES)[number];

type Facts = Pick<ModelFacts, 'name' | 'title' | 'classes' | 'bands'>;

export function codeFor(language: Language, model: Facts, origin: string): string {
  const file = `${model.title}.onnx`;
  const names = model.classes.map((row) => row.name);
  const bands = model.bands.names.length;
  switch (language) {
    case 'Python':
      return model.bands.rgb ? python(file, names) : pythonOfBands(file, names, model);
    case 'C++':
      return cpp(file, bands, model.bands.rgb, model.bands.dtype);
    case 'C#':
      return csharp(file, names, bands, model.bands.rgb, model.bands.dtype);
    case 'JavaScript':
      return javascript(file, names, bands, model.bands.rgb, model.bands.dtype);
    case 'curl':
      return curl(model, origin);
  }
}

const quoted = (names: readonly string[], mark = '"') =>
  names.map((name) => `${mark}${name.replaceAll('\\', '\\\\').replaceAll(mark, `\\${mark}`)}${mark}`).join(', ');

const run = (file: string) => `session = onnxruntime.InferenceSession(${quoted([file])})
labels = session.run(["labels"], {"image": image})[0]  # uint8 [H, W], class ids
`;

const python = (file: string, names: string[]) => `# pip install numpy onnxruntime pillow
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

classes = [${quoted(names)}]
image = np.asarray(ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB"))  # uint8 [H, W, 3]
${run(file)}Image.fromarray(labels).save("labels.png")
for i, name in enumerate(classes):
    print(f"{name}: {(labels == i).mean():.1%}")
`;

const pythonOfBands = (file: string, names: string[], model: Facts) => `# pip install numpy onnxruntime
import numpy as np
import onnxruntime

classes = [${quoted(names)}]
# The values as stored, NaN where there are none; bands: ${model.bands.names.join(', ')}
image = np.load("image.npy").astype("${model.bands.dtype}")  # [H, W, ${model.bands.names.length}]
${run(file)}np.save("labels.npy", labels)
for i, name in enumerate(classes):
    print(f"{name}: {(labels == i).mean():.1%}")
`;

function cpp(file: string, bands: number, rgb: boolean, dtype: string): string {
  const type = dtype === 'uint8' ? 'uint8_t' : 'float';
  const read = rgb
    ? `  cv::Mat image = cv::imread("photo.jpg", cv::IMREAD_COLOR);  // upright
  cv::cvtColor(image, image, cv::COLOR_BGR2RGB);`
    : `  // Fill it: [H, W, ${bands}], the values as stored
  cv::Mat image(480, 640, ${type === 'float' ? 'CV_32FC' : 'CV_8UC'}(${bands}));`;
  return `// c++ -std=c++17 label.cpp -lonnxruntime $(pkg-config --cflags --libs opencv4)
#include <array>
#include <cstdint>
#include <onnxruntime_cxx_api.h>
#include <opencv2/opencv.hpp>

int main() {
${read}
  Ort::Env environment;
  Ort::Session session(environment, ORT_TSTR(${quoted([file])}), Ort::SessionOptions{});
  std::array<int64_t, 3> shape{image.rows, image.cols, ${bands}};
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto input = Ort::Value::CreateTensor<${type}>(
      memory, image.ptr<${type}>(), image.total() * ${bands}, shape.data(), shape.size());
  const char* inputs[] = {"image"};
  const char* outputs[] = {"labels"};
  auto results = session.Run(Ort::RunOptions{nullptr}, inputs, &input, 1, outputs, 1);
  cv::Mat labels(image.rows, image.cols, CV_8U, results[0].GetTensorMutableData<uint8_t>());  // class ids
  cv::imwrite("labels.png", labels);
}
`;
}

function csharp(file: string, names: string[], bands: number, rgb: boolean, dtype: string): string {
  const type = dtype === 'uint8' ? 'byte' : 'float';
  const read = rgb
    ? `using var photo = SKBitmap.Decode("photo.jpg");  // as stored: EXIF orientation is not applied
var image = new DenseTensor<byte>(new[] { photo.Height, photo.Width, 3 });
for (int y = 0; y < photo.Height; y++)
    for (int x = 0; x < photo.Width; x++)
    {
        var colour = photo.GetPixel(x, y);
        (image[y, x, 0], image[y, x, 1], image[y, x, 2]) = (colour.Red, colour.Green, colour.Blue);
    }`
    : `var image = new DenseTensor<${type}>(new[] { 480, 640, ${bands} });  // fill it: the values as stored`;
  return `// dotnet add package Microsoft.ML.OnnxRuntime${rgb ? '; dotnet add package SkiaSharp' : ''}
using System.Linq;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
${rgb ? 'using SkiaSharp;\n' : ''}
string[] classes = { ${quoted(names)} };
${read}
using var session = new InferenceSession(${quoted([file])});
using var results = session.Run(new[] { NamedOnnxValue.CreateFromTensor("image", image) }, new[] { "labels" });
var labels = results.First().AsTensor<byte>();  // [H, W], class ids
Console.WriteLine($"top left: {classes[labels[0, 0]]}");
`;
}

function javascript(file: string, names: string[], bands: number, rgb: boolean, dtype: string): string {
  const read = rgb
    ? `const photo = sharp('photo.jpg').rotate().removeAlpha().toColourspace('srgb').raw(); // upright
const { data, info } = await photo.toBuffer({ resolveWithObject: true });
const image = new ort.Tensor('uint8', data, [info.height, info.width, 3]);`
    : `const [height, width] = [480, 640];
const values = new ${dtype === 'uint8' ? 'Uint8Array' : 'Float32Array'}(height * width * ${bands}); // fill it: the values as stored
const image = new ort.Tensor('${dtype}', values, [height, width, ${bands}]);`;
  return `// npm install onnxruntime-node${rgb ? ' sharp' : ''}    (in a browser: onnxruntime-web, the same calls)
import * as ort from 'onnxruntime-node';
${rgb ? "import sharp from 'sharp';\n" : ''}
const classes = [${quoted(names, "'")}];
${read}
const session = await ort.InferenceSession.create(${quoted([file], "'")});
const { labels } = await session.run({ image }, ['labels']); // Uint8Array of H × W class ids
const counts = classes.map((_, id) => labels.data.filter((label) => label === id).length);
classes.forEach((name, id) => console.log(name, counts[id] / labels.data.length));
`;
}

function curl({ name, bands }: Facts, origin: string): string {
  const file = bands.rgb ? 'photo.jpg' : 'image.tif';
  const model = name === 'main' ? '' : `&model=${name}`;
  const token = model ? ' -H "Authorization: Bearer $PIXELWISE_TOKEN"' : '';
  return `# A mask as PNG, whose values are class ids
curl${token} --data-binary @${file} '${origin}/v1/predict?answer=png${model}' > labels.png

# Shares and run lengths as JSON
curl${token} --data-binary @${file} '${origin}/v1/predict${model.replace('&', '?')}'
`;
}
