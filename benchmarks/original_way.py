"""The original scripts' way of handling data, written anew as the reference of the benchmarks.

Conversion builds one `tf.train.Example` message per stamp, with the pixels as a flat list of
floats, and writes GZIP files record by record. The input pipeline parses record by record and
drops what is not selected with a filter, after parsing.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

LABELS = {
    "artifact": 0,
    "bogus": 0,
    "galx_artificial_real": 1,
    "rand_artificial_real": 1,
    "real": 1,
    "unlabelled": -1,
}


def convert(survey: str | Path, out: str | Path) -> int:
    """Convert a survey directory; return the number of stamps."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rows, start = [], 0
    for path in sorted(Path(survey).glob("images*.npy")):
        detector_id = int(path.stem.removeprefix("images"))
        images = np.load(path)
        names = pd.read_csv(path.with_name(f"params{detector_id}.csv"))["object_type"]
        labels = names.map(LABELS).to_numpy()
        with tf.io.TFRecordWriter(str(out / f"data{detector_id}.tfrecord"), "GZIP") as writer:
            for index, image in enumerate(images):
                example = _example(
                    image,
                    label=labels[index],
                    detector_id=detector_id,
                    sample_index=index,
                    unique_index=start + index,
                )
                writer.write(example.SerializeToString())
        rows.append({"detector_id": detector_id, "size": len(images), "start_index": start})
        start += len(images)
    pd.DataFrame(rows).to_csv(out / "data_info.csv")
    return start


def _example(image: np.ndarray, **integers: int) -> tf.train.Example:
    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for name, value in integers.items()
    }
    pixels = tf.train.FloatList(value=image.flatten())
    features["image"] = tf.train.Feature(float_list=pixels)
    return tf.train.Example(features=tf.train.Features(feature=features))


def stamp_dataset(
    directory: str | Path,
    selected: np.ndarray,
    *,
    stamp_shape: tuple[int, int, int],
    batch_size: int,
    shuffle_buffer: int,
    seed: int = 0,
    parallel_calls: int | None = None,
) -> tf.data.Dataset:
    """Batches of (stamps, labels) of the records whose unique_index is in `selected`."""
    directory = Path(directory)
    info = pd.read_csv(directory / "data_info.csv", index_col=0)
    files = [str(directory / f"data{detector_id}.tfrecord") for detector_id in info["detector_id"]]
    wanted = tf.constant(selected, tf.int64)
    features = {
        "image": tf.io.FixedLenFeature(stamp_shape, tf.float32),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "unique_index": tf.io.FixedLenFeature([], tf.int64),
    }

    def parse(serialised: tf.Tensor) -> dict[str, tf.Tensor]:
        return tf.io.parse_single_example(serialised, features)

    def is_selected(record: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.reduce_any(tf.equal(wanted, record["unique_index"]))

    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP")
    dataset = dataset.map(parse, num_parallel_calls=parallel_calls).filter(is_selected)
    dataset = dataset.map(lambda record: (record["image"], record["label"]))
    return dataset.shuffle(shuffle_buffer, seed=seed).batch(batch_size).prefetch(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert a survey directory the original's way.")
    parser.add_argument("survey", metavar="SURVEY", help="images<ID>.npy and params<ID>.csv")
    parser.add_argument("out", metavar="OUT", help="folder of the GZIP records")
    arguments = parser.parse_args()
    print(f"{convert(arguments.survey, arguments.out)} stamps in {arguments.out}")


if __name__ == "__main__":
    main()
