// What labels can be exported to: the formats that `pixelwise convert` writes.

export const FORMATS: readonly { format: string; name: string }[] = [
  { format: 'native', name: 'Pixelwise' },
  { format: 'pairs', name: 'images and masks side by side' },
  { format: 'coco', name: 'COCO' },
  { format: 'coco-panoptic', name: 'COCO panoptic' },
  { format: 'cvat', name: 'CVAT' },
  { format: 'labelstudio', name: 'Label Studio' },
  { format: 'labelme', name: 'LabelMe' },
  { format: 'yolo', name: 'YOLO' },
  { format: 'voc', name: 'Pascal VOC' },
  { format: 'cityscapes', name: 'Cityscapes' },
  { format: 'camvid', name: 'CamVid' },
  { format: 'ade20k', name: 'ADE20K' },
  { format: 'geojson', name: 'GeoJSON' },
  { format: 'nifti', name: 'NIfTI' },
  { format: 'parquet', name: 'Parquet' },
  { format: 'image-folder', name: 'image folder of Hugging Face' },
];
