import MQTTCore
import Metrics

/// Tells swift-metrics the broker's figures, now and then: no message pays for them.
struct BrokerMetrics {
    private struct Total {
        let counter: Counter
        let value: (Statistics) -> UInt64
        var last: UInt64 = 0
    }

    private var totals: [Total]
    private let gauges: [(Gauge, (Statistics) -> Int)]
    private let longestTurn = Timer(label: "apus_turn_longest")
    private let meanTurn = Timer(label: "apus_turn_mean")
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
            Self.gauge("apus_uncommitted_bytes", \.uncommittedBytes),
        ]
    }

    private static func total(_ label: String, _ value: @escaping (Statistics) -> UInt64) -> Total {
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
        for at in totals.indices {
            let value = totals[at].value(statistics)
            totals[at].counter.increment(by: Int64(value - totals[at].last))
            totals[at].last = value
        }
        for (gauge, value) in gauges { gauge.record(Int64(value(statistics))) }
        let turns = statistics.turns - lastTurns
        guard turns > 0 else { return }
        longestTurn.recordNanoseconds(Int64(nanoseconds))
        meanTurn.recordNanoseconds(Int64((statistics.turnNanoseconds - lastTurnNanoseconds) / turns))
        lastTurns = statistics.turns
        lastTurnNanoseconds = statistics.turnNanoseconds
    }
}
