{# The audience that the running test stands on, as dbt's node of it; none while dbt parses. #}
{% macro tested_audience() %}
    {{ return(graph.nodes[model.attached_node] if execute else none) }}
{% endmacro %}

{# The sync of the tested audience to the destination `to`: its name as SQL text, its mode, whether it has
   options that leave out people of whom no table tells, and of a split the `salt` and the `variants` it sends. Stops dbt when the audience has no such sync, for a misspelt
   destination would have nothing to complain of. #}
{% macro tested_sync(to) %}
    {% set audience = revetl.tested_audience() %}
    {% if not audience %}
        {{ return({'name': "''", 'mode': 'mirror', 'leaves_out': false, 'split': none}) }}
    {% endif %}
    {% set declared = audience.config.meta.get('revetl', {}).get('sync', []) %}
    {% set syncs = [declared] if declared is mapping else declared %}
    {% set about = audience.config.meta.get('revetl', {}) %}
    {% for sync in syncs if sync.to == to %}
        {% set chosen = sync.get('variants') or about.get('split', {}) | reject('equalto', 'control') | list %}
        {{ return({
            'name': dbt.string_literal(audience.name ~ '.' ~ to),
            'mode': sync.get('mode', 'mirror'),
            'leaves_out': 'exclude' in sync or 'priority' in sync or 'limit' in sync
                or sync.get('other_events') == 'skip',
            'split': about.get('split'),
            'salt': about.get('salt', audience.name),
            'variants': [chosen] if chosen is string else chosen,
        }) }}
    {% endfor %}
    {% do exceptions.raise_compiler_error(
        audience.name ~ ": the test says to: " ~ to ~ ", and there is no sync of it to that. There is: "
        ~ (syncs | map(attribute='to') | join(', ') or 'none') ~ ".") %}
{% endmacro %}
