// Holds a few operations, written here in JavaScript, against the test vectors in a folder:
//
//     node vectors.js DIR
//
// It needs nothing but the files, and reads them as their README says. It prints the cases that are wrong and, of each
// operation, how many it tried; it ends with 1 if one is wrong. The tests run it, also with operations broken.
"use strict";

const fs = require("fs");
const path = require("path");

const FORMATS = {
  float32: {precision: 24, least: -126, most: 127},
  float16: {precision: 11, least: -14, most: 15},
  bfloat16: {precision: 8, least: -126, most: 127},
};

// Reading

const number = (text) => {
  const found = /^(-?)0x([01])\.?([0-9a-f]*)p([+-]\d+)$/.exec(text);
  if (!found) return {nan: NaN, inf: Infinity, "-inf": -Infinity}[text];
  const [, sign, whole, digits, exponent] = found;
  const size = parseInt(whole + digits, 16) * 2 ** (-4 * digits.length) * 2 ** Number(exponent);
  return sign ? -size : size;
};

const size = (shape) => shape.reduce((product, length) => product * length, 1);

// All places of an array of this shape, in row-major order.
const places = (shape) =>
  Array.from({length: size(shape)}, (_, flat) => {
    const index = shape.map(() => 0);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = flat % shape[axis];
      flat = Math.floor(flat / shape[axis]);
    }
    return index;
  });

const array = ({shape, values, strides, offset}) => {
  const memory = values.map((value) => typeof value === "string" ? number(value) : value);
  if (!strides) return {shape, values: memory};
  const at = (index) => index.reduce((place, step, axis) => place + step * strides[axis], offset);
  return {shape, values: places(shape).map((index) => memory[at(index)])};
};

const parameter = (value) =>
  Array.isArray(value) ? value.map(parameter) : value !== null && typeof value === "object" ? number(value.real) : value;

// Computing

const rounded = (value, {precision, least, most}) => {
  if (!Number.isFinite(value) || value === 0) return value;
  let exponent = least;
  while (Math.abs(value) >= 2 ** (exponent + 1)) exponent++;
  const unit = 2 ** (exponent - precision + 1);
  const below = Math.floor(value / unit);
  const rest = value / unit - below;
  const up = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
  const result = (below + (up ? 1 : 0)) * unit;
  const zero = result === 0 && value < 0 ? -0 : result;
  return Math.abs(zero) > (2 - 2 ** (1 - precision)) * 2 ** most ? Math.sign(value) * Infinity : zero;
};

const each = (compute) => ({x, ...rest}) => ({shape: x.shape, values: x.values.map((value) => compute(value, rest))});

const element = ({shape, values}, index) => {
  const own = index.slice(index.length - shape.length).map((step, axis) => shape[axis] === 1 ? 0 : step);
  return values[own.reduce((place, step, axis) => place * shape[axis] + step, 0)];
};

const gemm = ({a, b, c, alpha = 1, beta = 0, transpose_a = false, transpose_b = false}) => {
  const [aRows, aColumns] = transpose_a ? a.shape.slice(-2).reverse() : a.shape.slice(-2);
  const bColumns = b.shape.at(transpose_b ? -2 : -1);
  const batches = [a, b].map((each) => each.shape.slice(0, -2));
  const axes = Math.max(...batches.map((batch) => batch.length));
  const batch = Array.from({length: axes}, (_, axis) => {
    const lengths = batches.map((each) => each[each.length - axes + axis] ?? 1);
    return lengths[0] === 1 ? lengths[1] : lengths[0];
  });
  const shape = [...batch, aRows, bColumns];
  const values = places(shape).map((index) => {
    const outer = index.slice(0, -2), [m, n] = index.slice(-2);
    let sum = 0;
    if (alpha !== 0)
      for (let k = 0; k < aColumns; k++)
        sum += element(a, [...outer, ...(transpose_a ? [k, m] : [m, k])]) *
          element(b, [...outer, ...(transpose_b ? [n, k] : [k, n])]);
    return (alpha !== 0 ? alpha * sum : 0) + (beta !== 0 ? beta * element(c, index) : 0);
  });
  return {shape, values};
};

const softmax = ({x, axis = -1}) => {
  const along = axis < 0 ? axis + x.shape.length : axis;
  const stride = size(x.shape.slice(along + 1));
  const values = places(x.shape).map((index, place) => {
    const first = place - index[along] * stride;
    const row = Array.from({length: x.shape[along]}, (_, step) => x.values[first + step * stride]);
    const largest = Math.max(...row);
    const sum = row.reduce((total, value) => total + Math.exp(value - largest), 0);
    return Math.exp(x.values[place] - largest) / sum;
  });
  return {shape: x.shape, values};
};

const OPERATIONS = {
  relu: each((x) => x > 0 || Number.isNaN(x) ? x : 0),
  leaky_relu: each((x, {negative_slope = 0.01}) => x > 0 ? x : negative_slope * x),
  sigmoid: each((x) => 1 / (1 + Math.exp(-x))),
  tanh: each(Math.tanh),
  softmax,
  gemm,
};

// Judging

const right = (got, want, bound, {precision, most}, signed) => {
  if (Number.isNaN(want) || bound === Infinity) return bound === Infinity || Number.isNaN(got);
  if (!Number.isFinite(want)) return got === want;
  if (got === Math.sign(want) * Infinity) return Math.abs(want) + bound >= (2 - 2 ** -precision) * 2 ** most;
  return Math.abs(got - want) <= bound && (!signed || Object.is(Math.sign(1 / got), Math.sign(1 / want)));
};

const holds = (compute, {dtype, arrays, parameters, expected}) => {
  const given = {};
  for (const [name, data] of Object.entries(arrays)) given[name] = array(data);
  for (const [name, value] of Object.entries(parameters)) given[name] = parameter(value);
  const got = compute(given), want = array(expected.result);
  return JSON.stringify(got.shape) === JSON.stringify(want.shape) && want.values.every((value, place) =>
    right(rounded(got.values[place], FORMATS[dtype]), value, number(expected.bound[place]), FORMATS[dtype],
      expected.sign_of_zero && value === 0));
};

const main = (folder) => {
  let wrong = 0;
  for (const [name, compute] of Object.entries(OPERATIONS)) {
    const file = JSON.parse(fs.readFileSync(path.join(folder, name + ".json"), "utf-8"));
    const cases = file.cases.filter(({expected}) => !expected.error);
    for (const found of cases.filter((one) => !holds(compute, one))) {
      console.log(`${name}: ${found.clause}, ${found.name}, ${found.dtype}: ${file.why[found.clause]}`);
      wrong++;
    }
    console.log(`${name} ${cases.length}`);
  }
  return wrong ? 1 : 0;
};

if (require.main === module) process.exitCode = main(process.argv[2]);
