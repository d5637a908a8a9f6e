// The curve of what labels bring, as the chart takes it.

import type { Curve } from './labelApi';

interface Series {
  label: string;
  values: (number | null)[];
  dashed?: boolean;
}

export interface CurveSeries {
  x: number[];
  series: Series[];
  forecastMinutes: number | null; // at the pace so far
}

export function curveSeries({ points, forecast }: Curve, by: 'images' | 'minutes'): CurveSeries {
  const sorted = [...points].sort((one, other) => one[by] - other[by]);
  const last = sorted.at(-1);
  const forecastMinutes = forecast && last?.images ? (last.minutes / last.images) * forecast.images : null;
  const x = sorted.map((point) => point[by]);
  const values: (number | null)[] = sorted.map((point) => point.miou);
  const series: Series[] = [{ label: 'mIoU', values }];
  const at = forecast && (by === 'images' ? forecast.images : forecastMinutes);
  if (forecast && last && at !== null && at > last[by]) {
    x.push(at);
    values.push(null);
    series.push({
      label: 'forecast',
      values: [...sorted.slice(1).map(() => null), last.miou, forecast.miou],
      dashed: true,
    });
  }
  return { x, series, forecastMinutes };
}
