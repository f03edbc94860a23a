// Landmarks of one face on iOS: an exported .tflite of kd-loss in LiteRT.
//
//   pod 'TensorFlowLiteSwift', '~> 2.17'                               # Podfile
//
//   let network = try FaceLandmarks(modelPath: path)                   // best-fp32.tflite
//   let points = try network.find(image, box: box, margin: 0.15)       // x0, y0, x1, y1, … in pixels of the image
//
// For networks whose input and output are real numbers: fp32, fp16, and int8 of all heads but `pooled`.
import CoreGraphics
import Foundation
import TensorFlowLite

final class FaceLandmarks {
    private let interpreter: Interpreter
    private let size: Int

    init(modelPath: String, threads: Int = 2) throws {
        var options = Interpreter.Options()
        options.threadCount = threads
        interpreter = try Interpreter(modelPath: modelPath, options: options)
        try interpreter.allocateTensors()
        size = try interpreter.input(at: 0).shape.dimensions[1]
    }

    /// Landmarks of the face in a box; `again`: how often to crop again about the landmarks found.
    /// The box is that of the landmarks in pixels, the centre of the first pixel at 0; a detector's box is a rough one.
    func find(_ image: CGImage, box: CGRect, margin: Double, again: Int = 1) throws -> [Double] {
        let pixels = Self.pixels(of: image)
        var found = try look(pixels, image.width, image.height, box, margin)
        for _ in 0..<again {
            let xs = stride(from: 0, to: found.count, by: 2).map { found[$0] }
            let ys = stride(from: 1, to: found.count, by: 2).map { found[$0] }
            let around = CGRect(x: xs.min()!, y: ys.min()!, width: xs.max()! - xs.min()!, height: ys.max()! - ys.min()!)
            found = try look(pixels, image.width, image.height, around, margin)
        }
        return found
    }

    private func look(_ pixels: [Int], _ width: Int, _ height: Int, _ box: CGRect, _ margin: Double) throws -> [Double] {
        let side = Double(max(box.width, box.height)) * (1 + 2 * margin)
        let x0 = Double(box.origin.x) + (Double(box.width) - side) / 2
        let y0 = Double(box.origin.y) + (Double(box.height) - side) / 2
        let crop = cropFace(pixels, width, height, x0, y0, side, size).map { Float32($0) }
        try interpreter.copy(crop.withUnsafeBufferPointer { Data(buffer: $0) }, toInputAt: 0)
        try interpreter.invoke()
        // (1, K, 2); the other output of a network with heatmaps is their spread
        let output = try (0..<interpreter.outputTensorCount).map { try interpreter.output(at: $0) }
            .first { $0.shape.dimensions.count == 3 }!
        let values = output.data.withUnsafeBytes { Array($0.bindMemory(to: Float32.self)) }
        return values.enumerated().map { ($0 % 2 == 0 ? x0 : y0) + (Double($1) + 0.5) * side }
    }

    /// Pixels as 0xRRGGBB, row by row from the top, as they are stored.
    private static func pixels(of image: CGImage) -> [Int] {
        var bytes = [UInt8](repeating: 0, count: 4 * image.width * image.height)
        let context = CGContext(
            data: &bytes, width: image.width, height: image.height, bitsPerComponent: 8, bytesPerRow: 4 * image.width,
            space: image.colorSpace ?? CGColorSpaceCreateDeviceRGB(), bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)!
        context.draw(image, in: CGRect(x: 0, y: 0, width: image.width, height: image.height))
        return (0..<image.width * image.height).map {
            Int(bytes[4 * $0]) << 16 | Int(bytes[4 * $0 + 1]) << 8 | Int(bytes[4 * $0 + 2])
        }
    }
}

private func down(_ value: Double) -> Int { Int(floor(value)) }
private func up(_ value: Double) -> Int { Int(ceil(value)) }
private func nearest(_ value: Double) -> Int { Int(value.rounded(.toNearestOrEven)) }
private func whole(_ value: Int, _ by: Int) -> Int { Int(floor(Double(value) / Double(by))) }
private func channel(_ pixel: Int, _ c: Int) -> Int { (pixel >> (16 - 8 * c)) & 255 }

// The arithmetic of the training crops; tests/test_phones.py runs these lines, translated word by word.
// <crop>
func cropFace(_ pixels: [Int], _ width: Int, _ height: Int, _ x0: Double, _ y0: Double, _ side: Double, _ size: Int) -> [Int] {
    let step = side / Double(size)
    // a large face: the mean of blocks of factor × factor pixels first, or every other pixel would be skipped
    let factor = max(1, min(down(step + 1e-6), min(width, height)))
    let by = Double(factor)
    let left = min(max(down(x0 / by) - 1, 0), whole(width, factor))
    let top = min(max(down(y0 / by) - 1, 0), whole(height, factor))
    let across = max(min(max(up((x0 + side) / by) + 2, 0), whole(width, factor)) - left, 0)
    let rows = max(min(max(up((y0 + side) / by) + 2, 0), whole(height, factor)) - top, 0)
    var part = [Int](repeating: 0, count: across * rows * 3)
    for i in 0..<across * rows * 3 {
        let x = (left + whole(i, 3) % across) * factor
        let y = (top + whole(i, 3 * across)) * factor
        var sum = 0
        for k in 0..<factor * factor {
            sum += channel(pixels[(y + whole(k, factor)) * width + x + k % factor], i % 3)
        }
        part[i] = nearest(Double(sum) / Double(factor * factor))
    }
    // then bilinear, as OpenCV does it: places in whole 1024ths, rounded to a 32nd of a pixel; black outside
    let slope = step / by
    let shift = (step / 2 - (by - 1) / 2) / by
    var crop = [Int](repeating: 0, count: size * size * 3)
    for i in 0..<size * size * 3 {
        let u = Double(whole(i, 3) % size)
        let v = Double(whole(i, 3 * size))
        let x = Double(whole(nearest(1024 * slope * u) + nearest(1024 * (x0 / by + shift)) + 16, 32)) / 32 - Double(left)
        let y = Double(whole(nearest(1024 * slope * v) + nearest(1024 * (y0 / by + shift)) + 16, 32)) / 32 - Double(top)
        var value = 0.0
        for k in 0..<4 {
            let column = down(x) + k % 2
            let row = down(y) + whole(k, 2)
            if column >= 0 && row >= 0 && column < across && row < rows {
                let beside = 1 - (x - Double(column)) * Double(1 - 2 * (k % 2))
                let above = 1 - (y - Double(row)) * Double(1 - 2 * whole(k, 2))
                value += beside * above * Double(part[3 * (row * across + column) + i % 3])
            }
        }
        crop[i] = nearest(value)
    }
    return crop
}
// </crop>
