import com.google.gson.reflect.TypeToken;
import io.kubernetes.client.Exec;
import io.kubernetes.client.PortForward;
import io.kubernetes.client.openapi.Configuration;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.models.V1ConfigMap;
import io.kubernetes.client.openapi.models.V1ObjectMeta;
import io.kubernetes.client.util.Config;
import io.kubernetes.client.util.Watch;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.List;

/** The official client for Java: lists, watches, runs a command and forwards a port. */
class Official {
  public static void main(String[] arguments) throws Exception {
    var client = Config.defaultClient();
    client.setHttpClient(client.getHttpClient().newBuilder().readTimeout(Duration.ofSeconds(60)).build());
    Configuration.setDefaultApiClient(client);
    var api = new CoreV1Api();
    for (var pod : api.listNamespacedPod("default").execute().getItems()) {
      System.out.println("list " + pod.getMetadata().getName());
    }

    var call = api.listNamespacedConfigMap("default").watch(true).buildCall(null);
    try (Watch<V1ConfigMap> watch =
        Watch.createWatch(client, call, new TypeToken<Watch.Response<V1ConfigMap>>() {}.getType())) {
      var map = new V1ConfigMap().metadata(new V1ObjectMeta().name("java"));
      api.createNamespacedConfigMap("default", map).execute();
      for (var event : watch) {
        if (event.object.getMetadata().getName().equals("java")) {
          System.out.println("watch " + event.type);
          break;
        }
      }
    }

    var process = new Exec().exec("default", "web", new String[] {"echo", "hi there"}, false, false);
    System.out.println("exec " + new String(process.getInputStream().readAllBytes()).trim());
    process.destroy();

    var forward = new PortForward().forward("default", "web", List.of(8080));
    forward.getOutboundStream(8080).write("GET / HTTP/1.0\r\n\r\n".getBytes());
    var lines = new BufferedReader(new InputStreamReader(forward.getInputStream(8080))).lines();
    System.out.println("port-forward " + lines.dropWhile(line -> !line.isEmpty()).skip(1).findFirst().get());
    System.exit(0);
  }
}
