// The quiz: what segmentation is for, and questions made from this image, this model and its run. Every answer has its reason.

import type { Epoch, FlowStage, Layer, Look, ModelFacts, WrongScale } from './types';
import { count, percent, shape } from './words';

export interface Option {
  text: string;
  right: boolean;
  because: string;
}

export interface Question {
  id: string;
  asks: string;
  options: Option[];
  own: boolean; // made from the person's own image or run
}

export interface QuizFacts {
  look: Look;
  model: ModelFacts;
  flow: FlowStage[] | null;
  layers: Layer[] | null;
  wrongScale: WrongScale | null;
  epochs: Epoch[];
}

const option = (text: string, right: boolean, because: string): Option => ({ text, right, because });

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

function fixed(): Question[] {
  return [
    {
      id: 'why',
      own: false,
      asks: 'Why does segmentation label every pixel?',
      options: [
        option('To know the exact location of objects', true, 'A label for the whole image says what is there; a label for every pixel says exactly where, along every boundary.'),
        option('To make the image smaller', false, 'Nothing gets smaller: the mask has as many pixels as the image.'),
        option('To change the image’s colours', false, 'The mask’s colours only stand for classes. The image itself is not changed.'),
        option('To blur the background', false, 'Blurring could use a mask, but it is not what the labels are for.'),
      ],
    },
    {
      id: 'output',
      own: false,
      asks: 'What does a segmentation model put out for each pixel?',
      options: [
        option('One score for every class', true, 'The highest score gives the label; a softmax turns the scores into probabilities.'),
        option('A single number between 0 and 1', false, 'That would be enough for two classes only.'),
        option('A box with a name', false, 'Boxes come from object detection. They include pixels that are not the object.'),
        option('A new colour', false, 'Colours are chosen afterwards, to show classes to people.'),
      ],
    },
    {
      id: 'upsampling',
      own: false,
      asks: 'What are upsampling layers for?',
      options: [
        option('To bring coarse maps back to the size of the image', true, 'Convolutions with steps shrink the maps so that they see far; upsampling returns them to where every pixel gets a label.'),
        option('To make the photo sharper', false, 'They work on feature maps, not on the photo.'),
        option('To add more classes', false, 'The number of classes is the number of planes of the last layer.'),
      ],
    },
    {
      id: 'skip',
      own: false,
      asks: 'What do skip connections carry?',
      options: [
        option('Fine maps from early layers to late ones', true, 'Deep maps know what is there, early maps know where its edges are. Together they give sharp boundaries.'),
        option('Images that the training leaves out', false, 'Leaving images out would be a question of the data.'),
        option('Errors back to the start', false, 'That is backpropagation. It happens in training only, along every connection.'),
      ],
    },
    {
      id: 'accuracy',
      own: false,
      asks: 'Why is mIoU reported beside accuracy?',
      options: [
        option('Accuracy hides rare classes', true, 'A class of 1 % of the pixels can be missed altogether with 99 % still right. IoU counts every class alike.'),
        option('Accuracy is harder to compute', false, 'It is the simplest of all: right pixels divided by labelled ones.'),
        option('mIoU is always higher', false, 'It is nearly always lower: it also counts what was wrongly given to a class.'),
      ],
    },
  ];
}

function fromImage({ look, model, flow, layers, wrongScale }: QuizFacts): Question[] {
  const questions: Question[] = [];
  const present = look.classes.filter((row) => row.share > 0).sort((p, q) => p.share - q.share);
  const pixels = look.width * look.height;
  if (present.length >= 3) {
    const rarest = present[0]!;
    const others = [present[present.length - 1]!, present[present.length >> 1]!];
    questions.push({
      id: `rarest-${look.image}`,
      own: true,
      asks: 'Which class is the rarest that this model found in your image?',
      options: [
        option(rarest.name, true, `It has ${count(rarest.share * pixels)} of ${count(pixels)} pixels: ${percent(rarest.share, 2)}.`),
        ...[...new Set(others)].map((row) => option(row.name, false, `That one has ${percent(row.share, 1)} of the pixels; ${rarest.name} has ${percent(rarest.share, 2)}.`)),
      ],
    });
  }
  if (present.length >= 2) {
    const [first, second] = [present[present.length - 1]!, present[present.length - 2]!];
    questions.push({
      id: `single-${look.image}`,
      own: true,
      asks: 'Suppose your whole image got one label only. What would it be, and for how much of the image would it be wrong?',
      options: [
        option(`${first.name}, wrong for ${percent(1 - first.share, 1)}`, true, `${first.name} has the most pixels, ${percent(first.share, 1)}; everything else in the image would go untold.`),
        option(`${first.name}, wrong for none`, false, `${count((1 - first.share) * pixels)} pixels are something else: a single label cannot say so.`),
        option(`${second.name}, wrong for ${percent(1 - second.share, 1)}`, false, `${second.name} has ${percent(second.share, 1)} of the pixels, ${first.name} has more.`),
      ],
    });
  }
  const masks = [look.height, look.width];
  questions.push({
    id: `mask-${look.image}`,
    own: true,
    asks: `Your image is ${shape([look.height, look.width, 3])}. What is the shape of its mask?`,
    options: [
      option(shape(masks), true, 'One label for every pixel, at the image’s own size, whatever size the network works at.'),
      option(shape([...masks, 3]), false, 'A mask holds one class id a pixel, not three colours.'),
      option(shape([...masks, look.classes.length]), false, `That would be the scores of all ${look.classes.length} classes at full size. The mask keeps the winner only.`),
      option(String(look.classes.length), false, 'One number for each class is what a classifier of whole images puts out.'),
    ],
  });
  const seen = flow?.[1]?.shape;
  if (seen && (seen[0] !== look.height || seen[1] !== look.width)) {
    questions.push({
      id: `input-${look.image}`,
      own: true,
      asks: 'In which shape does the network see your image?',
      options: [
        option(shape(seen), true, `Preprocessing resized it${model.policy === 'stretch' ? ', whatever its shape was' : ''}. The labels are brought back to ${shape(masks)} at the end.`),
        option(shape([look.height, look.width, 3]), false, 'That is the image before preprocessing.'),
        option(shape([look.h, look.w, look.classes.length]), false, 'That is the shape of the scores, which come out at the other end.'),
      ],
    });
  }
  questions.push({
    id: `planes-${look.image}`,
    own: true,
    asks: `This model tells ${look.classes.length} classes apart. How many planes do its scores have?`,
    options: [
      option(String(look.classes.length), true, `One plane for each class, each ${look.h} × ${look.w} here.`),
      option('3', false, 'Three planes, red, green and blue, go in. What comes out is counted in classes.'),
      option('1', false, 'One plane is what is left after the highest score has won.'),
    ],
  });
  if (wrongScale) {
    const share = percent(wrongScale.changed_share);
    questions.push({
      id: `scale-${look.image}`,
      own: true,
      asks: 'This network learnt from values divided by 255. Suppose nobody had divided your image’s: what would it have said?',
      options: [
        option(`Other labels for ${share} of the pixels, and no error`, true, `It was run that way just now: ${percent(wrongScale.commonest.share)} of the pixels became ${wrongScale.commonest.class}. The shapes fit, so nothing fails; it is only wrong. That is why this model’s preprocessing is inside its file.`),
        option('An error: the values are out of range', false, 'The shapes fit, so nothing stops it. That makes the mistake dangerous.'),
        option('The same labels, brighter colours', false, 'Every layer receives numbers 255 times too large, and the colours only stand for classes.'),
      ],
    });
  }
  const coarsest = layers?.filter((layer) => layer.group === 'convolutional').sort((p, q) => p.shape[1] - q.shape[1])[0];
  if (coarsest && seen) {
    const by = Math.round(seen[0]! / coarsest.shape[1]);
    questions.push({
      id: `stride-${model.digest}`,
      own: true,
      asks: `The model input is ${seen[0]} × ${seen[1]}, the layer ${coarsest.name} only ${coarsest.shape[1]} × ${coarsest.shape[2]}. For how many pixels of the input does one of its positions stand?`,
      options: [
        option(`${by} × ${by}`, true, `${seen[0]} ÷ ${coarsest.shape[1]} = ${by}. It sees further than that: its window overlaps with its neighbours’.`),
        option('1 × 1', false, `Then the map would be as large as the input, ${seen[0]} × ${seen[1]}.`),
        option(`${coarsest.shape[0]} × ${coarsest.shape[0]}`, false, `${coarsest.shape[0]} is its number of channels, which says nothing about size.`),
      ],
    });
  }
  return questions;
}

function fromRun({ epochs }: QuizFacts): Question[] {
  if (epochs.length < 3) return [];
  const first = epochs[0]!;
  const last = epochs[epochs.length - 1]!;
  const best = epochs.reduce((p, q) => ((q.miou ?? 0) > (p.miou ?? 0) ? q : p));
  const middle = epochs[epochs.length >> 1]!;
  const wrong = [first, middle, last].filter((one) => one.epoch !== best.epoch).slice(0, 2);
  const questions: Question[] = [
    {
      id: `best-${last.time ?? last.epoch}`,
      own: true,
      asks: 'Which epoch’s weights did training keep as the best?',
      options: [
        option(`epoch ${best.epoch}`, true, `Its mIoU of ${best.miou?.toFixed(3)} on the held-out images is the highest.`),
        ...wrong.map((one) => option(`epoch ${one.epoch}`, false, `There the mIoU was ${one.miou?.toFixed(3)}; epoch ${best.epoch} reached ${best.miou?.toFixed(3)}.`)),
      ],
    },
  ];
  const over = epochs.find((one) => one.observation.startsWith('overfitting'));
  questions.push({
    id: `overfit-${last.epoch}`,
    own: true,
    asks: 'From which epoch on did this training overfit: training loss falling, validation loss rising three times running?',
    options: [
      option(over ? `epoch ${over.epoch}` : 'it never did', true, over ? `There its observation says: ${over.observation}.` : `Validation loss went from ${first.val_loss?.toFixed(2)} to ${last.val_loss?.toFixed(2)} and never rose three times running while training loss fell.`),
      option(over ? 'it never did' : `epoch ${middle.epoch}`, false, over ? `Look at epoch ${over.epoch} in the chart: the two losses part.` : `At epoch ${middle.epoch}: ${middle.observation}.`),
      option(`epoch ${first.epoch}`, false, 'After a single epoch there is no course to judge by.'),
    ],
  });
  return questions;
}

/** All questions, the one about the purpose first, own and general ones in turn. */
export function questions(facts: QuizFacts): Question[] {
  const [why, ...general] = fixed();
  const own = [...fromImage(facts), ...fromRun(facts)];
  const mixed: Question[] = [why!];
  for (let i = 0; i < Math.max(own.length, general.length); i++) {
    if (own[i]) mixed.push(own[i]!);
    if (general[i]) mixed.push(general[i]!);
  }
  // Where numbers happen to be equal, two options would read alike: the right one stays.
  const apart = (options: Option[]) => options.filter((one, i) => one.right || !options.some((other, j) => other.text === one.text && (other.right || j < i)));
  return mixed.map((question) => ({ ...question, options: shuffled(apart(question.options), question.id + question.asks) }));
}
