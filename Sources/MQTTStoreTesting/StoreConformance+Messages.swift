import MQTTPackets
import MQTTStore
import NIOCore

extension StoreConformance {
    static let messageCases: [Case] = [
        Case("messages are queued with all that belongs to them") { trial in
            let plain = StoredMessage(number: 0, message: StoreTrial.message(), qos: .atLeastOnce)
            let full = StoredMessage(
                number: 70_000,
                message: StoreTrial.message(publisher: nil),
                qos: .exactlyOnce,
                isRetained: true,
                identifiers: [1, 268_435_455, 1],
                sharedFilter: "$share/group/a/+"
            )
            try await trial.commit(StoreTrial.began(1), .queued(plain, incarnation: 1), .queued(full, incarnation: 1))
        },
        Case("messages keep topic, payload, publisher, properties, flags and expiry") { trial in
            try await trial.commit([StoreTrial.began(1)])
            try await trial.commit(
                oddMessages().enumerated().map { StoreTrial.queued(UInt64($0.offset), 1, $0.element) }
            )
        },
        Case("a payload of a megabyte is kept") { trial in
            let bytes = (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 5) }
            let publish = Publish(topic: "large", payload: ByteBuffer(bytes: bytes), qos: .atLeastOnce)
            let message = Message(publish, publisher: "p")
            try await trial.commit(StoreTrial.began(1), StoreTrial.began(2), StoreTrial.queued(4, 1, message))
            try await trial.commit(
                StoreTrial.queued(5, 1, message),
                StoreTrial.queued(1, 2, message),
                .retained(StoredRetained(message, version: 1))
            )
            try await trial.check()
            try await trial.commit(.finished(incarnation: 1, number: 4), .retainedCleared(topic: "large"))
        },
        Case("one message is queued for many sessions and ends in each by itself") { trial in
            let message = StoreTrial.message()
            let sessions = Array(UInt64(1)...200)
            try await trial.commit(sessions.map { StoreTrial.began($0) })
            try await trial.commit(sessions.map { StoreTrial.queued($0 * 3, $0, message, qos: .atLeastOnce) })
            try await trial.check()
            try await trial.commit(sessions.filter { $0 % 3 == 0 }.map { .finished(incarnation: $0, number: $0 * 3) })
            try await trial.check()
            try await trial.commit(sessions.filter { $0 % 3 == 1 }.map { .sessionEnded(incarnation: $0) })
            try await trial.check()
            try await trial.commit(sessions.map { .finished(incarnation: $0, number: $0 * 3) })
        },
        Case("one message is queued for many sessions with a delivery of its own for each") { trial in
            let message = StoreTrial.message()
            let sessions = 1...9 as ClosedRange<UInt64>
            try await trial.commit(sessions.map { StoreTrial.began($0) })
            try await trial.commit(
                sessions.map { incarnation in
                    let stored = StoredMessage(
                        number: 10 - incarnation,
                        message: message,
                        qos: incarnation % 2 == 0 ? .atLeastOnce : .exactlyOnce,
                        isRetained: incarnation % 3 == 0,
                        identifiers: (0..<UInt32(incarnation)).map { $0 + 1 },
                        sharedFilter: incarnation % 4 == 0 ? "$share/g\(incarnation)/#" : ""
                    )
                    return .queued(stored, incarnation: incarnation)
                }
            )
        },
        Case("one message is queued twice for a session") { trial in
            let message = StoreTrial.message()
            try await trial.commit([StoreTrial.began(1)] + (0..<3).map { StoreTrial.queued($0, 1, message) })
            try await trial.commit(.finished(incarnation: 1, number: 1))
        },
        Case("a message that was received has no payload any more, until it is over") { trial in
            try await trial.commit(
                [StoreTrial.began(1)] + (0..<4).map { StoreTrial.queued($0, 1, StoreTrial.message()) }
            )
            try await trial.commit([1, 2, 9].map { .received(incarnation: 1, number: $0) })
            try await trial.check()
            try await trial.commit(.finished(incarnation: 1, number: 1), .received(incarnation: 1, number: 1))
            try await trial.check()
            try await trial.commit(StoreTrial.queued(4, 1, StoreTrial.message()), .received(incarnation: 1, number: 4))
        },
        Case("messages end in any order, and the end of one that is not there is ignored") { trial in
            try await trial.commit(
                [StoreTrial.began(1)] + (0..<50).map { StoreTrial.queued($0, 1, StoreTrial.message()) }
            )
            for number in [49, 0, 25, 24, 1, 48, 25] as [UInt64] {
                try await trial.commit(.finished(incarnation: 1, number: number))
            }
            try await trial.check()
            try await trial.commit(.finished(incarnation: 1, number: 1 << 50), .finished(incarnation: 7, number: 2))
        },
        Case("a message is queued and ends in one batch") { trial in
            try await trial.commit(
                StoreTrial.began(1),
                StoreTrial.queued(0, 1, StoreTrial.message()),
                StoreTrial.queued(1, 1, StoreTrial.message()),
                .finished(incarnation: 1, number: 0)
            )
        },
        Case("the next number outlives the messages") { trial in
            try await trial.commit(
                [StoreTrial.began(1)] + (3..<90).map { StoreTrial.queued($0, 1, StoreTrial.message()) }
            )
            try await trial.commit((3..<90).map { .finished(incarnation: 1, number: $0) })
            try await trial.check()
            try await trial.check()
            try await trial.commit(
                StoreTrial.queued(100, 1, StoreTrial.message()),
                .finished(incarnation: 1, number: 100)
            )
        },
    ]

    /// Messages at the edges of what there can be.
    static func oddMessages() -> [Message] {
        func message(
            _ topic: String,
            _ payload: [UInt8] = [1],
            _ properties: Properties = Properties(),
            _ publisher: String? = "p",
            expiresAt: Int64 = .max
        ) -> Message {
            let publish = Publish(
                topic: topic,
                payload: ByteBuffer(bytes: payload),
                qos: QoS.allCases[payload.count % 3],
                isRetained: payload.count % 2 == 0,
                properties: properties
            )
            return Message(publish, publisher: publisher, expiresAt: expiresAt)
        }
        var properties = Properties()
        properties[integer: .payloadFormatIndicator] = 1
        properties[string: .contentType] = "text/Ω"
        properties[string: .responseTopic] = "answer"
        properties[binary: .correlationData] = ByteBuffer(bytes: Array(repeating: 0, count: 65_535))
        properties.appendUserProperty("é", "e\u{301}")
        properties.appendUserProperty("", "")
        return [
            message("t", []),
            message("é", [0]),
            message("e\u{301}", [0]),
            message("🐝/\u{10FFFF}/\u{7F}", Array(0...255)),
            message(String(repeating: "x", count: 65_535)),
            message("p", [1, 2], properties),
            message("n", [1], Properties(), nil),
            message("n", [1], Properties(), ""),
            message("n", [1], Properties(), String(repeating: "c", count: 65_535)),
            message("n", [1], Properties(), "é🐝"),
            message("e", [1], Properties(), expiresAt: 0),
            message("e", [1], Properties(), expiresAt: -1),
            message("e", [1], Properties(), expiresAt: .max - 1),
            message("l", Array(repeating: 7, count: (16 << 10) - 1)),
            message("l", Array(repeating: 7, count: 16 << 10), properties),
        ]
    }
}
