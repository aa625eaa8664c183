import MQTT

/// What a measurement has found, as `--json` prints it; `latency` in microseconds.
struct BenchResult: Codable, Sendable {
    var scenario: String
    var broker: String
    var qos: Int
    var payloadBytes: Int
    var publishers: Int
    var subscribers: Int
    var seconds: Double
    var connected = 0
    var failed = 0
    var sent = 0
    var expected = 0
    var received = 0
    var lost = 0
    var duplicates = 0
    var outOfOrder = 0
    var foreign = 0
    private var processes = 1
    private var sentPerSecond = 0.0
    private var receivedPerSecond = 0.0
    private var connectedPerSecond = 0.0
    private var latencyMean = 0.0
    private var latencyPercentiles: [String: UInt64] = [:]
    /// Each value and how often it was: what merging needs.
    private var latencyCounts: [[UInt64]] = []

    /// In JSON it is `latencyCounts`.
    var latency = BenchLatency()

    private enum CodingKeys: CodingKey {
        case scenario, broker, qos, payloadBytes, publishers, subscribers, seconds, connected, failed, sent, expected
        case received, lost, duplicates, outOfOrder, foreign, processes, sentPerSecond, receivedPerSecond
        case connectedPerSecond, latencyMean, latencyPercentiles, latencyCounts
    }

    static let percentiles = [50, 75, 90, 99, 99.9, 99.99, 100]

    init(_ settings: BenchSettings, seconds: Double) {
        scenario = settings.scenario.rawValue
        broker = settings.command.connection.serverName
        qos = Int(settings.command.qos.rawValue)
        payloadBytes = settings.command.size
        publishers = settings.publishers
        subscribers = settings.subscribers
        self.seconds = max(seconds, 0.000_001)
    }

    /// What one subscriber got, or several that share.
    mutating func add(_ tracker: BenchTracker) {
        for stream in tracker.streams.values {
            received += stream.received
            duplicates += stream.received - stream.unique
            outOfOrder += stream.outOfOrder
            // What was published, as far as it can be known from what has come.
            expected += Int(stream.highest ?? 0) + 1
        }
        foreign += tracker.foreign
        latency.add(tracker.latency)
    }

    /// Computes what follows from the rest.
    mutating func settle() {
        lost = max(0, expected - (received - duplicates))
        sentPerSecond = Double(sent) / seconds
        receivedPerSecond = Double(received) / seconds
        connectedPerSecond = Double(connected) / seconds
        latencyMean = latency.isEmpty ? 0 : latency.mean
        latencyPercentiles = [:]
        if !latency.isEmpty {
            for percentile in Self.percentiles {
                latencyPercentiles[Self.name(percentile)] = latency.percentile(percentile)
            }
        }
        latencyCounts = latency.counts
    }

    private static func name(_ percentile: Double) -> String {
        percentile == 100 ? "max" : "p" + (percentile == percentile.rounded() ? "\(Int(percentile))" : "\(percentile)")
    }
}

extension BenchResult {
    // MARK: Several processes

    /// Of what a file says; sums of many files are numbers still.
    private static let countMax = 1 << 48

    init(file: String) async throws {
        let options = try PayloadOptions.parse(["--file", file])
        let bytes = try await options.payload()
        do {
            self = try JSONPayloadCoder().decode(BenchResult.self, from: bytes)
        } catch {
            throw CommandFailure("\(file) is not a result of apus bench --json")
        }
        let counts = [connected, failed, sent, expected, received, lost, duplicates, outOfOrder, foreign, processes]
        let clients = 0...1_000_000
        guard counts.allSatisfy((0...Self.countMax).contains), clients.contains(publishers),
            clients.contains(subscribers), (0...1e12).contains(seconds),
            latencyCounts.joined().allSatisfy({ $0 <= UInt64(Self.countMax) })
        else { throw CommandFailure("\(file) has numbers that no measurement has") }
        latency.counts = latencyCounts
    }

    /// As if all of it had been one measurement, at one time.
    init(merging results: [BenchResult]) {
        self = results[0]
        for other in results.dropFirst() {
            publishers += other.publishers
            subscribers += other.subscribers
            seconds = max(seconds, other.seconds)
            connected += other.connected
            failed += other.failed
            sent += other.sent
            expected += other.expected
            received += other.received
            duplicates += other.duplicates
            outOfOrder += other.outOfOrder
            foreign += other.foreign
            processes += other.processes
            latency.add(other.latency)
        }
        let scenarios = Set(results.map(\.scenario))
        scenario = scenarios.sorted().joined(separator: " + ")
        // Publishers know what was sent; subscribers alone do not see what is missing at the end.
        if scenarios == ["pub", "sub"] {
            let product = sent.multipliedReportingOverflow(by: subscribers)
            expected = product.overflow ? .max : product.partialValue
            latency = BenchLatency()
            for result in results where result.scenario == "sub" { latency.add(result.latency) }
        }
        settle()
    }

    // MARK: The table

    var table: String {
        var rows: [(String, String)] = [("scenario", scenario), ("broker", broker)]
        if processes > 1 { rows.append(("processes", "\(processes)")) }
        if scenario == "conn" {
            rows.append(("connected", "\(connected), \(fixed(connectedPerSecond, 0))/s"))
            rows.append(("failed", "\(failed)"))
        } else {
            rows.append(("clients", "\(publishers) publishers, \(subscribers) subscribers"))
            rows.append(("messages", "QoS \(qos), \(payloadBytes) bytes"))
            if publishers > 0 { rows.append(("sent", "\(sent), \(fixed(sentPerSecond, 0))/s")) }
            if subscribers > 0 {
                rows.append(("received", "\(received), \(fixed(receivedPerSecond, 0))/s"))
                rows.append(("lost", "\(lost)"))
                rows.append(("duplicates", "\(duplicates)"))
                rows.append(("out of order", "\(outOfOrder)"))
            }
            if foreign > 0 { rows.append(("not ours", "\(foreign)")) }
        }
        rows.append(("time", formattedSeconds(seconds)))
        if !latency.isEmpty {
            rows.append(("latency", "mean \(formattedSeconds(latencyMean / 1_000_000))"))
            for percentile in Self.percentiles {
                let value = Double(latency.percentile(percentile)) / 1_000_000
                rows.append(("  " + Self.name(percentile), formattedSeconds(value)))
            }
        }
        return rows.map { $0.0.leftAligned(14) + $0.1 }.joined(separator: "\n")
    }
}
