import MQTTCore
import MQTTStore
import Metrics

/// Tells swift-metrics the broker's figures, now and then: no message pays for them.
struct BrokerMetrics {
    private struct Total<Figures> {
        let counter: Counter
        let value: (Figures) -> UInt64
        var last: UInt64 = 0

        mutating func record(_ figures: Figures) {
            counter.increment(by: Int64(value(figures) - last))
            last = value(figures)
        }
    }

    private var totals: [Total<Statistics>]
    private let gauges: [(Gauge, (Statistics) -> Int)]
    private let longestTurn = Timer(label: "apus_turn_longest")
    private let meanTurn = Timer(label: "apus_turn_mean")
    private lazy var store = StoreMetrics()
    private var lastTurns: UInt64 = 0
    private var lastTurnNanoseconds: UInt64 = 0

    init() {
        totals = [
            Self.total("apus_packets_received", \.packetsReceived), Self.total("apus_packets_sent", \.packetsSent),
            Self.total("apus_bytes_received", \.bytesReceived), Self.total("apus_bytes_sent", \.bytesSent),
            Self.total("apus_publish_received", \.publishReceived), Self.total("apus_publish_sent", \.publishSent),
            Self.total("apus_publish_refused", \.publishRefused),
            Self.total("apus_publish_bytes_received", \.publishBytesReceived),
            Self.total("apus_publish_bytes_sent", \.publishBytesSent),
            Self.total("apus_publish_bytes_dropped", \.publishBytesDropped),
            Self.total("apus_copies_routed", \.copiesRouted), Self.total("apus_copies_completed", \.copiesCompleted),
            Self.total("apus_connects", \.connects), Self.total("apus_sockets", \.sockets),
            Self.total("apus_sockets_refused", \.socketsRefused),
            Self.total("apus_sessions_expired", \.sessionsExpired), Self.total("apus_turns", \.turns),
            Self.total("apus_turns_contended", \.turnsContended),
        ]
        totals += DropCause.allCases.map { cause in
            Total(counter: Counter(label: "apus_dropped", dimensions: [("cause", cause.name)])) { $0.dropped[cause] }
        }
        gauges = [
            Self.gauge("apus_clients_connected", \.clientsConnected), Self.gauge("apus_connections", \.connections),
            Self.gauge("apus_sessions", \.sessions), Self.gauge("apus_copies_unfinished", \.copiesUnfinished),
            Self.gauge("apus_queued_bytes", \.queuedBytes), Self.gauge("apus_unsent_bytes", \.unsentBytes),
            Self.gauge("apus_subscriptions", \.subscriptions),
            Self.gauge("apus_shared_subscriptions", \.sharedSubscriptions),
            Self.gauge("apus_retained_messages", \.retainedMessages),
            Self.gauge("apus_retained_bytes", \.retainedBytes), Self.gauge("apus_will_bytes", \.willBytes),
            Self.gauge("apus_uncommitted_bytes", \.uncommittedBytes), Self.gauge("apus_held_bytes", \.heldBytes),
        ]
    }

    private static func total(_ label: String, _ value: @escaping (Statistics) -> UInt64) -> Total<Statistics> {
        Total(counter: Counter(label: label), value: value)
    }

    private static func gauge(
        _ label: String,
        _ value: @escaping (Statistics) -> Int
    ) -> (Gauge, (Statistics) -> Int) {
        (Gauge(label: label), value)
    }

    /// What has changed since the last call, and how things stand. `longestTurn` is that of the time between, in
    /// nanoseconds.
    mutating func record(_ statistics: Statistics, longestTurn nanoseconds: UInt64) {
        for at in totals.indices { totals[at].record(statistics) }
        for (gauge, value) in gauges { gauge.record(Int64(value(statistics))) }
        let turns = statistics.turns - lastTurns
        guard turns > 0 else { return }
        longestTurn.recordNanoseconds(Int64(nanoseconds))
        meanTurn.recordNanoseconds(Int64((statistics.turnNanoseconds - lastTurnNanoseconds) / turns))
        lastTurns = statistics.turns
        lastTurnNanoseconds = statistics.turnNanoseconds
    }

    /// The same of a store that keeps something. The longest wait is that of the time between.
    mutating func record(_ statistics: StoreStatistics) { store.record(statistics) }

    private struct StoreMetrics {
        private var commits = Total<StoreStatistics>(counter: Counter(label: "apus_store_commits")) { $0.commits }
        private var changes = Total<StoreStatistics>(counter: Counter(label: "apus_store_changes")) { $0.changes }
        private let liveBytes = Gauge(label: "apus_store_live_bytes")
        private let totalBytes = Gauge(label: "apus_store_total_bytes")
        private let full = Gauge(label: "apus_store_full")
        private let longestSync = Timer(label: "apus_store_sync_longest")
        private let meanSync = Timer(label: "apus_store_sync_mean")
        private var lastMicroseconds: UInt64 = 0

        mutating func record(_ now: StoreStatistics) {
            let count = now.commits - commits.last
            commits.record(now)
            changes.record(now)
            liveBytes.record(Int64(now.liveBytes))
            totalBytes.record(Int64(now.totalBytes))
            full.record(Int64(now.isFull ? 1 : 0))
            guard count > 0 else { return }
            longestSync.recordMicroseconds(Int64(now.syncMicrosecondsMax))
            meanSync.recordMicroseconds(Int64((now.syncMicroseconds - lastMicroseconds) / count))
            lastMicroseconds = now.syncMicroseconds
        }
    }
}
