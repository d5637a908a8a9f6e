// The quiz: what segmentation is for, and questions about this image, this model and its training. Every answer has a reason.

import type { Epoch, FlowStage, Layer, Prediction, ModelFacts, WrongScale } from './types';
import { count, percent, shape } from './format';

export interface Option {
  text: string;
  right: boolean;
  because: string;
}

/** The parts of the tab Pipeline; each asks its own questions. */
export const PARTS = ['Data flow', 'Training', 'Layers', 'Labels'] as const;
export type Part = 1 | 2 | 3 | 4;

export interface Question {
  id: string;
  part: Part;
  asks: string;
  options: Option[];
  own: boolean; // about the person's own image or training
}

export interface QuizFacts {
  prediction: Prediction;
  model: ModelFacts;
  flow: FlowStage[] | null;
  layers: Layer[] | null;
  wrongScale: WrongScale | null;
  epochs: Epoch[];
}

const right = (text: string, because: string): Option => ({ text, right: true, because });
const wrong = (text: string, because: string): Option => ({ text, right: false, because });

/** The same order every time for the same question, so that a reload changes nothing. */
function shuffled<T>(items: T[], seed: string): T[] {
  let state = [...seed].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, 7);
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = state % (i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

const GENERAL: Question[] = [
  {
    id: 'why',
    part: 1,
    own: false,
    asks: 'Why does segmentation label every pixel?',
    options: [
      right(
        'To know the exact location of objects',
        'A label for the whole image says what is there; a label for every pixel says exactly where, along every boundary.',
      ),
      wrong('To make the image smaller', 'Nothing gets smaller: the mask has as many pixels as the image.'),
      wrong('To change the image’s colours', 'The mask’s colours only stand for classes. The image does not change.'),
      wrong('To blur the background', 'Blurring can use a mask, but that is not what labels are for.'),
    ],
  },
  {
    id: 'output',
    part: 4,
    own: false,
    asks: 'What does a segmentation model output for each pixel?',
    options: [
      right('One score per class', 'The highest score gives the label; a softmax turns scores into probabilities.'),
      wrong('A single number between 0 and 1', 'That is enough for two classes only.'),
      wrong('A box with a name', 'Boxes come from object detection. They include pixels that are not the object.'),
      wrong('A new colour', 'Colours are chosen afterwards, to show classes to people.'),
    ],
  },
  {
    id: 'upsampling',
    part: 3,
    own: false,
    asks: 'What do upsampling layers do?',
    options: [
      right(
        'They bring coarse maps back to a finer resolution',
        'Strided convolutions shrink the maps to widen the receptive field. Upsampling undoes this, so that every pixel gets a label.',
      ),
      wrong('They make the photo sharper', 'They work on feature maps, not on the photo.'),
      wrong('They add classes', 'The last layer sets the number of classes: one map per class.'),
    ],
  },
  {
    id: 'skip',
    part: 3,
    own: false,
    asks: 'What do skip connections carry?',
    options: [
      right(
        'Fine maps from early layers to late ones',
        'Deep maps know what is there, early maps know where its edges are. Together they give sharp boundaries.',
      ),
      wrong('Images that training leaves out', 'Which images to leave out is a decision about the dataset.'),
      wrong('Errors back to the first layer', 'That is backpropagation. It happens in training only.'),
    ],
  },
  {
    id: 'accuracy',
    part: 2,
    own: false,
    asks: 'Why report mIoU as well as accuracy?',
    options: [
      right(
        'Accuracy hides rare classes',
        'A model can miss a class of 1 % of the pixels and still reach 99 % accuracy. mIoU gives every class the same weight.',
      ),
      wrong('Accuracy is harder to compute', 'It is the simplest score: correct pixels divided by labelled pixels.'),
      wrong('mIoU is always higher', 'It is nearly always lower: IoU also counts pixels wrongly given to a class.'),
    ],
  },
];

function aboutShares({ prediction }: QuizFacts): Question[] {
  const present = prediction.classes.filter((row) => row.share > 0).sort((p, q) => p.share - q.share);
  const pixels = prediction.width * prediction.height;
  const rarest = present[0]!;
  const others = new Set([present.at(-1)!, present[present.length >> 1]!].filter((row) => row.share > rarest.share));
  const [first, second] = [present.at(-1)!, present.at(-2)];
  const questions: Question[] = [];
  if (present.length >= 3 && others.size) {
    questions.push({
      id: `rarest-${prediction.image}`,
      part: 4,
      own: true,
      asks: 'Which is the rarest class that this model found in your image?',
      options: [
        right(
          rarest.name,
          `It has ${count(rarest.share * pixels)} of ${count(pixels)} pixels: ${percent(rarest.share, 2)}.`,
        ),
        ...[...others].map((row) =>
          wrong(
            row.name,
            `It has ${percent(row.share, 1)} of the pixels; ${rarest.name} has ${percent(rarest.share, 2)}.`,
          ),
        ),
      ],
    });
  }
  if (second) {
    const options = [
      right(
        `${first.name}, wrong for ${percent(1 - first.share, 1)}`,
        `${first.name} has the most pixels: ${percent(first.share, 1)}.`,
      ),
      wrong(`${first.name}, wrong for none`, `${count((1 - first.share) * pixels)} pixels are something else.`),
    ];
    const less = `${second.name} has ${percent(second.share, 1)} of the pixels, ${first.name} has more.`;
    if (second.share < first.share)
      options.push(wrong(`${second.name}, wrong for ${percent(1 - second.share, 1)}`, less));
    questions.push({
      id: `single-${prediction.image}`,
      part: 4,
      own: true,
      asks: 'Give your whole image a single label. Which one fits best, and for how much of the image is it wrong?',
      options,
    });
  }
  return questions;
}

function aboutShapes({ prediction, model, flow }: QuizFacts): Question[] {
  const mask = [prediction.height, prediction.width];
  const classes = prediction.classes.length;
  const questions: Question[] = [
    {
      id: `mask-${prediction.image}`,
      part: 1,
      own: true,
      asks: `Your image is ${shape([...mask, 3])}. What is the shape of its mask?`,
      options: [
        right(shape(mask), 'One label per pixel, at the image’s own size, whatever the input size of the network.'),
        wrong(shape([...mask, 3]), 'A mask holds one class id per pixel, not three colours.'),
        wrong(
          shape([...mask, classes]),
          `That is the scores of ${classes} classes at full size. A mask keeps the highest only.`,
        ),
        wrong(String(classes), 'One number per class is the output of an image classifier.'),
      ],
    },
    {
      id: `maps-${prediction.image}`,
      part: 4,
      own: true,
      asks: `This model distinguishes ${classes} classes. How many maps does its output have?`,
      options: [
        right(String(classes), `One map per class, each ${prediction.h} × ${prediction.w} here.`),
        wrong('3', 'Red, green and blue are three maps of the input. The output has one per class.'),
        wrong('1', 'One map is left once each pixel has taken the class with the highest score.'),
      ],
    },
  ];
  const input = flow?.[1]?.shape;
  if (input && (input[0] !== prediction.height || input[1] !== prediction.width)) {
    const stretched = model.policy === 'stretch' ? ', whatever its aspect ratio' : '';
    questions.splice(1, 0, {
      id: `input-${prediction.image}`,
      part: 1,
      own: true,
      asks: 'What shape is your image when it enters the network?',
      options: [
        right(
          shape(input),
          `Preprocessing resized it${stretched}. The labels are resized back to ${shape(mask)} at the end.`,
        ),
        wrong(shape([...mask, 3]), 'That is the image before preprocessing.'),
        wrong(shape([prediction.h, prediction.w, classes]), 'That is the shape of the scores, the network’s output.'),
      ],
    });
  }
  return questions;
}

function aboutScale({ prediction, wrongScale }: QuizFacts): Question[] {
  if (!wrongScale) return [];
  const { class: name, share } = wrongScale.commonest;
  return [
    {
      id: `scale-${prediction.image}`,
      part: 1,
      own: true,
      asks: 'This network was trained on values divided by 255. What if your image had not been divided by 255?',
      options: [
        right(
          `Other labels for ${percent(wrongScale.changed_share)} of the pixels, and no error`,
          `The model has just been run that way: ${percent(share)} of the pixels became ${name}. The shapes fit, so nothing fails; ` +
            'the labels are just wrong. That is why this model’s preprocessing is inside its file.',
        ),
        wrong(
          'An error: the values are out of range',
          'The shapes fit, so nothing fails. That makes the mistake dangerous.',
        ),
        wrong(
          'The same labels, brighter colours',
          'Every layer receives values 255 times too large; colours only stand for classes.',
        ),
      ],
    },
  ];
}

function aboutCoarsest({ model, flow, layers }: QuizFacts): Question[] {
  const [height, width] = flow?.[1]?.shape ?? [];
  const coarsest = layers
    ?.filter((layer) => layer.group === 'convolutional')
    .sort((p, q) => p.shape[1] - q.shape[1])[0];
  if (!coarsest || !height || !width) return [];
  const [channels, rows, columns] = coarsest.shape;
  const stride = height / rows;
  if (!Number.isInteger(stride) || width / columns !== stride) return [];
  return [
    {
      id: `stride-${model.digest}`,
      part: 3,
      own: true,
      asks:
        `The network’s input is ${height} × ${width}, the layer ${coarsest.name} only ${rows} × ${columns}. ` +
        'How many pixels of the input does one of its positions cover?',
      options: [
        right(
          `${stride} × ${stride}`,
          `${height} ÷ ${rows} = ${stride}. Its receptive field is larger and overlaps its neighbours’.`,
        ),
        wrong('1 × 1', `Then the map would be as large as the input, ${height} × ${width}.`),
        wrong(`${channels} × ${channels}`, `${channels} is its number of channels, which says nothing about size.`),
      ],
    },
  ];
}

function aboutBest({ epochs }: QuizFacts): Question[] {
  const last = epochs.at(-1);
  const best = epochs.reduce((p, q) => ((q.miou ?? 0) > (p.miou ?? 0) ? q : p), epochs[0]!);
  const kept = epochs.findLast((one) => one.best);
  if (epochs.length < 3 || !last || !best.miou || kept?.miou !== best.miou) return []; // few validation images: the last is kept
  const miou = best.miou.toFixed(3);
  const others = [epochs[0]!, epochs[epochs.length >> 1]!, last]
    .filter((one) => (one.miou ?? 0).toFixed(3) < miou)
    .slice(0, 2);
  if (!others.length) return [];
  return [
    {
      id: `best-${last.time ?? last.epoch}`,
      part: 2,
      own: true,
      asks: 'Which epoch’s weights did training keep as the best?',
      options: [
        right(`epoch ${best.epoch}`, `Epoch ${best.epoch} has the highest mIoU on the validation images: ${miou}.`),
        ...others.map((one) =>
          wrong(
            `epoch ${one.epoch}`,
            `Its mIoU was ${(one.miou ?? 0).toFixed(3)}; epoch ${best.epoch} reached ${miou}.`,
          ),
        ),
      ],
    },
  ];
}

function aboutOverfitting({ epochs }: QuizFacts): Question[] {
  const [first, middle, last] = [epochs[0], epochs[epochs.length >> 1], epochs.at(-1)];
  if (epochs.length < 3 || !first || !middle || !last || first.val_loss === null || last.val_loss === null) return [];
  const over = epochs.find((one) => one.observation.startsWith('overfitting'));
  const losses = `from ${first.val_loss.toFixed(2)} to ${last.val_loss.toFixed(2)}`;
  return [
    {
      id: `overfit-${last.epoch}`,
      part: 2,
      own: true,
      asks:
        'At which epoch does the trace of this training first report overfitting: training loss falling, ' +
        'validation loss rising three times running, mIoU below its best?',
      options: [
        ...(over
          ? [
              right(`epoch ${over.epoch}`, `Its observation: ${over.observation}.`),
              wrong('at none', `Look at epoch ${over.epoch} in the chart: the two losses part.`),
            ]
          : [
              right('at none', `Validation loss went ${losses}; at no epoch did all three hold.`),
              wrong(`epoch ${middle.epoch}`, `Observation at epoch ${middle.epoch}: ${middle.observation}.`),
            ]),
        wrong(`epoch ${first.epoch}`, 'A single epoch shows no trend.'),
      ],
    },
  ];
}

/** All questions, the one about the purpose first, own and general ones in turn. */
export function questions(facts: QuizFacts): Question[] {
  const [why, ...general] = GENERAL;
  const topics = [aboutShares, aboutShapes, aboutScale, aboutCoarsest, aboutBest, aboutOverfitting];
  const own = topics.flatMap((topic) => topic(facts));
  const mixed = [why!];
  for (let i = 0; i < Math.max(own.length, general.length); i++) {
    if (own[i]) mixed.push(own[i]!);
    if (general[i]) mixed.push(general[i]!);
  }
  return mixed
    .map((question) => ({ ...question, options: shuffled(apart(question.options), question.id + question.asks) }))
    .filter((question) => question.options.length > 1);
}

/** Where numbers happen to be equal, two options would read alike: the first stays, which is the right one. */
function apart(options: Option[]): Option[] {
  return options.filter((one, i) => options.findIndex((other) => other.text === one.text) === i);
}
