{# The source table of raw messages (tracks, identifies …), in the schema that the project gives it. #}
{% macro raw_table(name) %}
    {{ return(revetl.placed(source('revetl_raw', name), 'raw')) }}
{% endmacro %}

{# The same of a table of what syncs and builds keep (sync_state, sync_runs …). #}
{% macro state_table(name) %}
    {{ return(revetl.placed(source('revetl_state', name), 'state')) }}
{% endmacro %}

{# A source's relation in the resolved schema. The YAML of a source knows no macros, so it can only say what dbt's own
   generate_schema_name would. A unit test's rows have no schema. #}
{% macro placed(relation, kind) %}
    {% if not execute or not relation.schema %}
        {{ return(relation) }}
    {% endif %}
    {% set schema = revetl.schema_of(kind) or relation.schema %}
    {{ return(relation if schema == relation.schema else relation.incorporate(path={'schema': schema})) }}
{% endmacro %}

{# The schema of raw events ('raw') or of the state ('state'), as int_revetl__project has published it; none where that
   model is disabled. Only the package's own nodes see the variables under `revetl:`, and tests of the project's
   models ask too. #}
{% macro schema_of(kind) %}
    {% set published = graph.nodes.get('model.revetl.int_revetl__project') %}
    {{ return(published.config.meta.schemas[kind] if published else none) }}
{% endmacro %}

{# The variables of the two that are set. #}
{% macro configured_schemas() %}
    {% set found = [] %}
    {% for variable in ['raw_schema', 'state_schema'] if var(variable, none) %}
        {% do found.append(variable) %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{# What int_revetl__project publishes: the variables raw_schema and state_schema, else what the project's
   generate_schema_name makes of 'raw' and 'revetl'. #}
{% macro resolved_schemas() %}
    {% set found = {} %}
    {% for kind, variable, custom in [('raw', 'raw_schema', 'raw'), ('state', 'state_schema', 'revetl')] %}
        {% set node = {
            'resource_type': 'source', 'package_name': 'revetl', 'name': 'revetl_' ~ kind, 'source_name': 'revetl_' ~ kind,
            'unique_id': 'source.revetl.revetl_' ~ kind, 'fqn': ['revetl', 'revetl_' ~ kind],
            'path': 'models', 'original_file_path': 'models', 'tags': [], 'meta': {},
            'config': {'schema': custom, 'tags': [], 'meta': {}, 'materialized': 'table', 'enabled': true},
        } %}
        {% do found.update({kind: var(variable, none) or generate_schema_name(custom, node) | trim}) %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}
