import Foundation
import Testing

/// The articles Embedding and From aedes and mosca: their names exist, and nothing of aedes and mosca is missing.
@Suite struct EmbeddingTests {
    private static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private func read(_ path: String) throws -> String {
        try String(contentsOf: Self.root.appending(path: path), encoding: .utf8)
    }

    private func rows(_ heading: String, of article: String = "FromAedesAndMosca") throws -> [[String]] {
        let document = try read("Sources/MQTTServer/MQTTServer.docc/\(article).md")
        let section = try #require(document.components(separatedBy: "\n## ").first { $0.hasPrefix(heading) })
        return section.split(separator: "\n").filter { $0.hasPrefix("|") }.dropFirst(2).map { row in
            row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
        }
    }

    private func names(_ cell: String) -> [String] {
        cell.matches(of: /`([^`]+)`/).map { String($0.1) }
    }

    @Test("every event, hook, method and option of aedes and mosca is in its table, once for what it is")
    func mapping() throws {
        let wanted = [
            "From aedes": [
                "event": """
                client clientReady clientDisconnect clientError connectionError keepaliveTimeout publish ack ping subscribe \
                unsubscribe connackSent closed error
                """,
                "hook": "preConnect authenticate authorizePublish authorizeSubscribe authorizeForward published",
                "method": "handle publish subscribe unsubscribe close", "property": "connectedClients",
                "client's": "publish subscribe unsubscribe close emptyOutgoingQueue",
                "option": """
                mq concurrency persistence queueLimit maxClientsIdLength heartbeatInterval id connectTimeout keepaliveLimit \
                trustProxy trustedProxies
                """,
            ],
            "From mosca": [
                "event": """
                ready clientConnected clientDisconnecting clientDisconnected clientError published subscribed unsubscribed \
                pingreq delivered closed error
                """,
                "hook": "authenticate authorizePublish authorizeSubscribe authorizeForward published storePacket",
                "method": "publish subscribe close attachHttpServer",
                "option": """
                host port interfaces id backend persistence maxInflightMessages logger stats publishNewClient \
                publishClientDisconnect publishSubscriptions secure credentials allowNonSecure http https onlyHttp
                """,
            ],
        ]
        for (heading, kinds) in wanted {
            let rows = try rows(heading)
            for (kind, list) in kinds {
                let found = rows.filter { $0[0].hasPrefix(kind + " ") }.flatMap { names($0[0]) }
                #expect(found.sorted() == list.split(separator: " ").map(String.init).sorted(), "\(heading): \(kind)")
            }
            #expect(rows.allSatisfy { row in kinds.keys.contains { row[0].hasPrefix($0 + " ") } })
            #expect(rows.allSatisfy { !names($0[1]).isEmpty })
        }
    }

    @Test("each name of ours in the tables stands in code that is compiled")
    func ownNames() throws {
        let code = try read("Tests/MQTTServerTests/EmbeddingNames.swift")
        for row in try rows("From aedes") + rows("From mosca") {
            for name in names(row[1]) { #expect(stands(name, in: code), "\(name)") }
        }
        for row in try rows("Events", of: "Embedding") {
            for name in names(row[0]) { #expect(stands("BrokerEvent.\(name)", in: code), "\(name)") }
        }
    }

    /// Not as a part of another name.
    private func stands(_ name: String, in code: String) -> Bool {
        let name = name.hasSuffix("()") ? String(name.dropLast(2)) : name
        return code.ranges(of: name).contains { range in
            range.upperBound == code.endIndex || !(code[range.upperBound].isLetter || code[range.upperBound] == "(")
        }
    }
}
