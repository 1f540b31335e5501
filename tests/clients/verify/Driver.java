import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;

/** Asks the guide's isGenuine about each line of the file CASES: id, timestamp, signatures and body, in base64. */
public final class Driver {
    public static void main(String[] arguments) throws Exception {
        String[] names = {"webhook-id", "webhook-timestamp", "webhook-signature"};
        for (String line : Files.readAllLines(Path.of(System.getenv("CASES")))) {
            String[] fields = line.split(" ");
            Map<String, String> headers = new HashMap<>();
            for (int i = 0; i < names.length; i++) {
                if (!fields[i].equals("-")) {
                    byte[] value = Base64.getDecoder().decode(fields[i]);
                    headers.put(names[i], new String(value, StandardCharsets.ISO_8859_1));
                }
            }
            byte[] body = fields[3].equals("-") ? new byte[0] : Base64.getDecoder().decode(fields[3]);
            System.out.println(Webhooks.isGenuine(System.getenv("SECRET"), headers::get, body));
        }
    }
}
