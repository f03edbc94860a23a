// Landmarks of one face on Android: an exported .tflite of kd-loss in LiteRT.
//
//   implementation("com.google.ai.edge.litert:litert:1.4.0")        // build.gradle.kts
//
//   val network = FaceLandmarks(model)                              // a direct ByteBuffer of best-fp32.tflite
//   val points = network.find(bitmap, boxOfTheFace, margin = 0.15)  // x0, y0, x1, y1, … in pixels of the bitmap
//
// For networks whose input and output are real numbers: fp32, fp16, and int8 of all heads but `pooled`.
package kdloss

import android.graphics.Bitmap
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min
import org.tensorflow.lite.Interpreter

/** The box of a face's landmarks in pixels, the centre of the first pixel at 0; a detector's box is a rough one. */
data class Box(val x: Double, val y: Double, val width: Double, val height: Double)

class FaceLandmarks(model: ByteBuffer, threads: Int = 2) {
    private val interpreter = Interpreter(model, Interpreter.Options().setNumThreads(threads))
    private val size = interpreter.getInputTensor(0).shape()[1]
    private val output = (0 until interpreter.outputTensorCount)
        .first { interpreter.getOutputTensor(it).shape().size == 3 } // (1, K, 2); the other one is the spread
    private val points = interpreter.getOutputTensor(output).shape()[1]
    private val input = ByteBuffer.allocateDirect(4 * size * size * 3).order(ByteOrder.nativeOrder())

    /** Landmarks of the face in a box; `again`: how often to crop again about the landmarks found. */
    fun find(bitmap: Bitmap, box: Box, margin: Double, again: Int = 1): DoubleArray {
        val pixels = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(pixels, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        var found = look(pixels, bitmap.width, bitmap.height, box, margin)
        repeat(again) {
            val xs = found.filterIndexed { i, _ -> i % 2 == 0 }
            val ys = found.filterIndexed { i, _ -> i % 2 == 1 }
            val around = Box(xs.min(), ys.min(), xs.max() - xs.min(), ys.max() - ys.min())
            found = look(pixels, bitmap.width, bitmap.height, around, margin)
        }
        return found
    }

    private fun look(pixels: IntArray, width: Int, height: Int, box: Box, margin: Double): DoubleArray {
        val side = max(box.width, box.height) * (1 + 2 * margin)
        val x0 = box.x + (box.width - side) / 2
        val y0 = box.y + (box.height - side) / 2
        input.rewind()
        for (value in cropFace(pixels, width, height, x0, y0, side, size)) input.putFloat(value.toFloat())
        val answer = Array(1) { Array(points) { FloatArray(2) } }
        input.rewind()
        interpreter.runForMultipleInputsOutputs(arrayOf(input), mapOf(output to answer))
        return DoubleArray(2 * points) { i ->
            (if (i % 2 == 0) x0 else y0) + (answer[0][i / 2][i % 2] + 0.5) * side
        }
    }
}

private fun down(value: Double): Int = floor(value).toInt()
private fun up(value: Double): Int = ceil(value).toInt()
private fun nearest(value: Double): Int = Math.rint(value).toInt()
private fun whole(value: Int, by: Int): Int = Math.floorDiv(value, by)
private fun channel(pixel: Int, c: Int): Int = (pixel shr (16 - 8 * c)) and 255

// The arithmetic of the training crops; tests/test_phones.py runs these lines, translated word by word.
// <crop>
fun cropFace(pixels: IntArray, width: Int, height: Int, x0: Double, y0: Double, side: Double, size: Int): IntArray {
    val step = side / size
    // a large face: the mean of blocks of factor × factor pixels first, or every other pixel would be skipped
    val factor = max(1, min(down(step + 1e-6), min(width, height)))
    val left = min(max(down(x0 / factor) - 1, 0), whole(width, factor))
    val top = min(max(down(y0 / factor) - 1, 0), whole(height, factor))
    val across = max(min(max(up((x0 + side) / factor) + 2, 0), whole(width, factor)) - left, 0)
    val rows = max(min(max(up((y0 + side) / factor) + 2, 0), whole(height, factor)) - top, 0)
    val part = IntArray(across * rows * 3)
    for (i in 0 until across * rows * 3) {
        val x = (left + whole(i, 3) % across) * factor
        val y = (top + whole(i, 3 * across)) * factor
        var sum = 0
        for (k in 0 until factor * factor) {
            sum += channel(pixels[(y + whole(k, factor)) * width + x + k % factor], i % 3)
        }
        part[i] = nearest(1.0 * sum / (factor * factor))
    }
    // then bilinear, as OpenCV does it: places in whole 1024ths, rounded to a 32nd of a pixel; black outside
    val slope = step / factor
    val shift = (step / 2 - (factor - 1) / 2.0) / factor
    val crop = IntArray(size * size * 3)
    for (i in 0 until size * size * 3) {
        val u = whole(i, 3) % size
        val v = whole(i, 3 * size)
        val x = whole(nearest(1024 * slope * u) + nearest(1024 * (x0 / factor + shift)) + 16, 32) / 32.0 - left
        val y = whole(nearest(1024 * slope * v) + nearest(1024 * (y0 / factor + shift)) + 16, 32) / 32.0 - top
        var value = 0.0
        for (k in 0 until 4) {
            val column = down(x) + k % 2
            val row = down(y) + whole(k, 2)
            if (column >= 0 && row >= 0 && column < across && row < rows) {
                val weight = (1 - (x - column) * (1 - 2 * (k % 2))) * (1 - (y - row) * (1 - 2 * whole(k, 2)))
                value += weight * part[3 * (row * across + column) + i % 3]
            }
        }
        crop[i] = nearest(value)
    }
    return crop
}
// </crop>
