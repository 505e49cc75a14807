{# Create the tables of revetl's own sources (what is landed, and what was delivered) that are missing, and
   add the columns that a newer version has, by the columns of the sources' YAML. Nothing is dropped, and nothing at
   all is done where a table of one of the names is somebody else's. #}
{% macro create_source_tables() %}
    {% if not execute or flags.WHICH not in ['build', 'run', 'test', 'seed', 'snapshot'] %}
        {{ return('') }}
    {% endif %}
    {% do revetl.mend_tables() %}
    {% set tables = [] %}
    {% for table in graph.sources.values() | selectattr('package_name', 'equalto', 'revetl') %}
        {% set schema = revetl.schema_of('raw' if table.source_name == 'revetl_raw' else 'state') or table.schema %}
        {% set found = adapter.get_relation(database=table.database, schema=schema, identifier=table.identifier) %}
        {% set there = none %}
        {% if found is not none %}
            {% set there = adapter.get_columns_in_relation(found) | map(attribute='name') | map('lower') | list %}
            {% do revetl.refuse_foreign_table(table, schema, there) %}
        {% endif %}
        {% do tables.append((table, api.Relation.create(
            database=table.database, schema=schema, identifier=table.identifier), there)) %}
    {% endfor %}
    {% do revetl.refuse_to_leave_state_behind(tables) %}
    {% set schemas = [] %}
    {% set without_target = [] %}
    {% for table, relation, there in tables %}
        {% if there is none %}
            {% if relation.schema not in schemas %}
                {% do adapter.create_schema(relation) %}
                {% do schemas.append(relation.schema) %}
            {% endif %}
            {% set columns = [] %}
            {% for column in table.columns.values() %}
                {% do columns.append(revetl.quoted(column.name) ~ ' ' ~ revetl.stored_type_of(column.data_type)) %}
            {% endfor %}
            {% do run_query(revetl.create_table_if_missing(
                relation, columns | join(', '), revetl.source_storage(table))) %}
        {% else %}
            {% for column in table.columns.values() if column.name | lower not in there %}
                {% do run_query(revetl.add_column(
                    relation, revetl.quoted(column.name) ~ ' ' ~ revetl.type_of(column.data_type))) %}
            {% endfor %}
            {% if 'target' in table.columns and 'target' not in there %}
                {% do without_target.append((relation, table.columns.keys() | list)) %}
            {% endif %}
        {% endif %}
    {% endfor %}
    {# By now sync_identities is there. #}
    {% for relation, columns in without_target %}
        {% do revetl.adopt_rows(relation, columns) %}
    {% endfor %}
    {% do adapter.commit() %}
{% endmacro %}

{# Raise an error for a table that revetl did not make, by its columns `there` (in lower case): every version of ours
   has had the first two, and the documents (JSON), which no other loader's has under these names. #}
{% macro refuse_foreign_table(table, schema, there) %}
    {% set columns = table.columns.values() | list %}
    {% set lacking = [] %}
    {% for column in columns %}
        {% if (loop.index <= 2 or column.data_type == 'json') and column.name | lower not in there %}
            {% do lacking.append(column.name) %}
        {% endif %}
    {% endfor %}
    {% if lacking %}
        {% set variable = 'raw_schema' if table.source_name == 'revetl_raw' else 'state_schema' %}
        {% do exceptions.raise_compiler_error(
            schema ~ '.' ~ table.identifier ~ ' is not a table of revetl: it has no column '
            ~ lacking | join(', ') ~ '. revetl changes no tables of others and adds none beside them. Give it a schema of '
            ~ 'its own (dbt_project.yml: vars.revetl.' ~ variable ~ ': NAME); docs/adopting.md says how to use events that '
            ~ 'another tool loads.') %}
    {% endif %}
{% endmacro %}

{# Raise an error where the state is about to begin empty in the default schema while the schema that was the default
   before, `revetl`, has one: who is in each destination would be forgotten. #}
{% macro refuse_to_leave_state_behind(tables) %}
    {% set published = graph.nodes.get('model.revetl.int_revetl__project') %}
    {% if published and 'state_schema' not in published.config.meta.configured %}
        {% for table, relation, there in tables if table.identifier == 'sync_state' and there is none
            and relation.schema | lower != 'revetl' %}
            {% set former = adapter.get_relation(
                database=table.database, schema='revetl', identifier='sync_state') %}
            {% if former is not none %}
                {% do exceptions.raise_compiler_error(
                    "Schema 'revetl' has the state that an older version of revetl kept there, and " ~ relation.schema
                    ~ ' has none. To go on with it, set vars.revetl in dbt_project.yml: `state_schema: revetl` and '
                    ~ '`raw_schema: raw`. To begin a state of its own, set state_schema to another name.') %}
            {% endif %}
        {% endfor %}
    {% endif %}
{% endmacro %}
