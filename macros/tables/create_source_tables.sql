{# Create the tables of revetl's own sources (what is landed, and what was delivered) that are missing, and
   add the columns that a newer version has, by the columns of the sources' YAML. Nothing is dropped, nothing at all is
   done where a table of one of the names is somebody else's, and where nothing is missing, the one question to the
   catalog is all that is sent. #}
{% macro create_source_tables() %}
    {% if not execute or flags.WHICH not in ['build', 'run', 'test', 'seed', 'snapshot'] %}
        {{ return('') }}
    {% endif %}
    {% do revetl.mend_tables() %}
    {% set tables = [] %}
    {% for table in graph.sources.values() | selectattr('package_name', 'equalto', 'revetl') %}
        {% do tables.append({
            'database': table.database, 'identifier': table.identifier, 'columns': table.columns,
            'schema': revetl.schema_of('raw' if table.source_name == 'revetl_raw' else 'state') or table.schema,
            'variable': 'raw_schema' if table.source_name == 'revetl_raw' else 'state_schema',
        }) %}
    {% endfor %}
    {% set former = revetl.former_state(tables) %}
    {% set there = revetl.columns_of_tables(tables + former) %}
    {% for table in tables if revetl.place_of(table) in there %}
        {% do revetl.refuse_foreign_table(table, there[revetl.place_of(table)]) %}
    {% endfor %}
    {% do revetl.refuse_to_leave_state_behind(tables, former, there) %}
    {% set schemas = [] %}
    {% set missing = [] %}
    {% set without_target = [] %}
    {% for table in tables %}
        {% set relation = api.Relation.create(
            database=table.database, schema=table.schema, identifier=table.identifier) %}
        {% set known = there.get(revetl.place_of(table)) %}
        {% if not known %}
            {% if table.schema not in schemas %}
                {% do adapter.create_schema(relation) %}
                {% do schemas.append(table.schema) %}
            {% endif %}
            {% set columns = [] %}
            {% for column in table['columns'].values() %}
                {% do columns.append(revetl.quoted(column.name) ~ ' ' ~ revetl.stored_type_of(column.data_type)) %}
            {% endfor %}
            {% do missing.append(revetl.create_table_if_missing(
                relation, columns | join(', '), revetl.source_storage(table))) %}
        {% else %}
            {% for column in table['columns'].values() if column.name | lower not in known %}
                {% do missing.append(revetl.add_column(
                    relation, revetl.quoted(column.name) ~ ' ' ~ revetl.type_of(column.data_type))) %}
            {% endfor %}
            {% if 'target' in table['columns'] and 'target' not in known %}
                {% do without_target.append((relation, table['columns'].keys() | list)) %}
            {% endif %}
        {% endif %}
    {% endfor %}
    {% if missing %}
        {% do revetl.run_together(missing) %}
    {% endif %}
    {# By now sync_identities is there. #}
    {% for relation, columns in without_target %}
        {% do revetl.adopt_rows(relation, columns) %}
    {% endfor %}
{% endmacro %}

{# How `columns_there` calls a table. #}
{% macro place_of(table) %}
    {{ return((table.schema | lower) ~ '.' ~ (table.identifier | lower)) }}
{% endmacro %}

{# The columns of the tables that are there, on any engine. #}
{% macro columns_of_tables(tables) %}
    {% set found = revetl.columns_there(tables) %}
    {% if found is not none %}
        {{ return(found) }}
    {% endif %}
    {% set found = {} %}
    {% for table in tables %}
        {% set relation = adapter.get_relation(
            database=table.database, schema=table.schema, identifier=table.identifier) %}
        {% if relation is not none %}
            {% do found.update({revetl.place_of(table):
                adapter.get_columns_in_relation(relation) | map(attribute='name') | map('lower') | list}) %}
        {% endif %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{# Raise an error for a table that revetl did not make, by its columns `there` (in lower case): every version of ours
   has had the first two, and the documents (JSON), which no other loader's has under these names. #}
{% macro refuse_foreign_table(table, there) %}
    {% set columns = table['columns'].values() | list %}
    {% set lacking = [] %}
    {% for column in columns %}
        {% if (loop.index <= 2 or column.data_type == 'json') and column.name | lower not in there %}
            {% do lacking.append(column.name) %}
        {% endif %}
    {% endfor %}
    {% if lacking %}
        {% do exceptions.raise_compiler_error(
            table.schema ~ '.' ~ table.identifier ~ ' is not a revetl table: it has no column '
            ~ lacking | join(', ') ~ '. revetl changes no tables of others and adds none beside them. Give it a schema of '
            ~ 'its own (dbt_project.yml: vars.revetl.' ~ table.variable ~ ': NAME); docs/how-to/adopting.md says how to use events that '
            ~ 'another tool loads.') %}
    {% endif %}
{% endmacro %}

{# The tables that tell of an older version's state, where no variable says in which schema the state is and the default
   has become another: nothing, or two. #}
{% macro former_state(tables) %}
    {% set project = graph.nodes.get('model.revetl.int_revetl__project') %}
    {% set found = [] %}
    {% for table in tables if table.identifier == 'sync_state' and table.schema | lower != 'revetl'
        and project and 'state_schema' not in project.config.meta.configured %}
        {% for name in ['sync_state', 'model_builds'] %}
            {% do found.append({'database': table.database, 'schema': 'revetl', 'identifier': name}) %}
        {% endfor %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{# Raise an error if the state is about to start empty although an older version's state exists: the members of each
   destination would be lost. Builds of this version record their target: with one, the schema is another target's,
   named by the project's generate_schema_name. #}
{% macro refuse_to_leave_state_behind(tables, former, there) %}
    {% for table in tables if table.identifier == 'sync_state' and revetl.place_of(table) not in there
        and former and revetl.place_of(former[0]) in there
        and 'target' not in there.get(revetl.place_of(former[1]), []) %}
        {% do exceptions.raise_compiler_error(
            "Schema 'revetl' has the state of an older version of revetl, and " ~ table.schema
            ~ ' has none. To keep using it, set vars.revetl in dbt_project.yml: `state_schema: revetl` and '
            ~ '`raw_schema: raw`. To start with a new state, set state_schema to another name.') %}
    {% endfor %}
{% endmacro %}

{# The columns of tables, by `schema.table` in lower case: a list of names for each that is there. None where the engine
   has no catalog that is asked once for all. #}
{% macro columns_there(tables) -%}
    {{ return(adapter.dispatch('columns_there', 'revetl')(tables)) }}
{%- endmacro %}

{% macro default__columns_there(tables) -%}
    {{ return(none) }}
{%- endmacro %}

{% macro duckdb__columns_there(tables) -%}
    {{ return(revetl.columns_in_catalog(tables, 'system.information_schema.columns')) }}
{%- endmacro %}

{% macro postgres__columns_there(tables) -%}
    {{ return(revetl.columns_in_catalog(tables, 'information_schema.columns')) }}
{%- endmacro %}

{% macro redshift__columns_there(tables) -%}
    {{ return(none) }}
{%- endmacro %}

{% macro snowflake__columns_there(tables) -%}
    {{ return(revetl.columns_in_catalog(tables, tables[0].database ~ '.information_schema.columns')) }}
{%- endmacro %}

{% macro columns_in_catalog(tables, catalog) -%}
    {% set schemas = [] %}
    {% for table in tables if (table.schema | lower) not in schemas %}
        {% do schemas.append(table.schema | lower) %}
    {% endfor %}
    {% if tables | map(attribute='database') | unique | list | length != 1 %}
        {{ return(none) }}
    {% endif %}
    {% set quoted = [] %}
    {% for schema in schemas %}
        {% do quoted.append(revetl.text_literal(schema)) %}
    {% endfor %}
    {% set found = {} %}
    {% for row in run_query('select lower(table_schema), lower(table_name), lower(column_name) from ' ~ catalog
        ~ ' where lower(table_catalog) = ' ~ revetl.text_literal(tables[0].database | lower)
        ~ ' and lower(table_schema) in (' ~ quoted | join(', ') ~ ')').rows %}
        {% set name = row[0] ~ '.' ~ row[1] %}
        {% if name not in found %}
            {% do found.update({name: []}) %}
        {% endif %}
        {% do found[name].append(row[2]) %}
    {% endfor %}
    {{ return(found) }}
{%- endmacro %}
