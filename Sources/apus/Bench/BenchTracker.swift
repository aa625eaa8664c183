import Histogram

/// What one subscriber got: what came once, twice, late or in the wrong order.
struct BenchTracker: Sendable {
    /// Of one publisher.
    struct Stream: Sendable {
        /// A bit for each sequence number.
        private(set) var seen: [UInt64] = []
        private(set) var highest: UInt64?
        private(set) var received = 0
        private(set) var outOfOrder = 0

        /// No more numbers are skipped than these: what claims to is not ours.
        private static let gapMax: UInt64 = 100_000_000

        mutating func record(_ sequence: UInt64) -> Bool {
            guard sequence < (highest ?? 0) + Self.gapMax else { return false }
            let word = Int(sequence / 64)
            if word >= seen.count { seen += repeatElement(0, count: max(word + 1 - seen.count, seen.count)) }
            let isNew = seen[word] & 1 << (sequence % 64) == 0
            seen[word] |= 1 << (sequence % 64)
            received += 1
            if let highest, sequence <= highest {
                // A message that comes again is told as that, not as one in the wrong place.
                if isNew { outOfOrder += 1 }
            } else {
                highest = sequence
            }
            return true
        }

        mutating func add(_ other: Stream) {
            if other.seen.count > seen.count { seen += repeatElement(0, count: other.seen.count - seen.count) }
            for (word, bits) in other.seen.enumerated() { seen[word] |= bits }
            highest = [highest, other.highest].compactMap { $0 }.max()
            received += other.received
            outOfOrder += other.outOfOrder
        }

        var unique: Int { seen.reduce(0) { $0 + $1.nonzeroBitCount } }
    }

    private(set) var streams: [BenchPayload.Source: Stream] = [:]
    private(set) var latency = BenchLatency()
    /// Messages of somebody else.
    private(set) var foreign = 0
    /// When the last message came, in the time of payloads.
    private(set) var lastTime: UInt64 = 0

    mutating func record(_ message: BenchPayload?, at now: UInt64) {
        guard let message, streams[message.source, default: Stream()].record(message.sequence) else {
            foreign += 1
            return
        }
        lastTime = now
        latency.record(nanoseconds: now > message.time ? now - message.time : 0)
    }

    /// As if one subscriber had got both, for those that share.
    mutating func add(_ other: BenchTracker) {
        for (source, stream) in other.streams { streams[source, default: Stream()].add(stream) }
        latency.add(other.latency)
        foreign += other.foreign
        lastTime = max(lastTime, other.lastTime)
    }
}

/// Times in microseconds, with three digits.
struct BenchLatency: Sendable {
    private var histogram: Histogram<UInt64> = {
        var histogram = Histogram<UInt64>(highestTrackableValue: 10_000, numberOfSignificantValueDigits: .three)
        histogram.autoResize = true
        return histogram
    }()

    mutating func record(nanoseconds: UInt64) { _ = histogram.record(nanoseconds / 1_000) }

    mutating func add(_ other: BenchLatency) { histogram.add(other.histogram) }

    /// How often each value was.
    var counts: [[UInt64]] {
        // The last value stands for all that are counted with it, the longest is known.
        get { histogram.recordedValues().map { [min($0.value, histogram.maxRecorded), $0.count] } }
        set {
            self = BenchLatency()
            for pair in newValue where pair.count == 2 { _ = histogram.record(pair[0], count: pair[1]) }
        }
    }

    var isEmpty: Bool { histogram.totalCount == 0 }
    var mean: Double { histogram.mean }
    func percentile(_ percentile: Double) -> UInt64 { histogram.valueAtPercentile(percentile) }
}
